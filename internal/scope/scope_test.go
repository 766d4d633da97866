// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package scope_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/scope"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumepolicy"
)

// TestNamespace follows velero v1.18.3, pkg/util/collections/includes_excludes.go, NamespaceIncludesExcludes, with what
// pkg/controller/backup_controller.go, prepareBackupRequest, makes of an empty list and of labels.
func TestNamespace(t *testing.T) {
	excluded := map[string]string{contract.LabelExcludeFromBackup: "true"}
	cases := map[string]struct {
		included, excluded []string
		labels             map[string]string
		want               scope.Why
	}{
		"an empty list is all":         {},
		"* is all":                     {included: []string{"*"}},
		"by name":                      {included: []string{"bar", "app-1"}},
		"another name":                 {included: []string{"bar"}, want: scope.WhyNamespace},
		"by pattern":                   {included: []string{"app-*"}},
		"by one character":             {included: []string{"app-?"}},
		"by a class of characters":     {included: []string{"app-[12]"}},
		"another pattern":              {included: []string{"db-*"}, want: scope.WhyNamespace},
		"excluded from all":            {excluded: []string{"app-1"}, want: scope.WhyNamespace},
		"excluded by pattern from all": {excluded: []string{"*-1"}, want: scope.WhyNamespace},
		"included by pattern and excluded by name": {included: []string{"app-*"}, excluded: []string{"app-1"}, want: scope.WhyNamespace},
		"included by name and excluded by pattern": {included: []string{"app-1"}, excluded: []string{"app*"}, want: scope.WhyNamespace},
		"the label leaves it out":                  {labels: excluded, want: scope.WhyNamespaceLabel},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, err := scope.New(&velerov1.BackupSpec{IncludedNamespaces: c.included, ExcludedNamespaces: c.excluded})
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Namespace("app-1", c.labels); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestResources follows velero v1.18.3, pkg/util/collections/includes_excludes.go: ShouldInclude of
// GlobalIncludesExcludes and ScopeIncludesExcludes, and ShouldExclude for PersistentVolumes.
func TestResources(t *testing.T) {
	cases := map[string]struct {
		spec velerov1.BackupSpec
		want string // of pods, claims, volumes
	}{
		"everything": {velerov1.BackupSpec{}, "pods claims volumes"},
		"some included": {
			velerov1.BackupSpec{IncludedResources: []string{"po", "configmaps"}}, "pods",
		},
		"volumes with all that is clustered": {
			velerov1.BackupSpec{
				IncludedResources: []string{"pods", "pvc"}, IncludeClusterResources: ptr.To(true),
			}, "pods claims volumes",
		},
		"nothing that is clustered": {
			velerov1.BackupSpec{IncludeClusterResources: ptr.To(false)}, "pods claims",
		},
		"claims excluded": {
			velerov1.BackupSpec{ExcludedResources: []string{"persistentvolumeclaim"}}, "pods volumes",
		},
		"the newer lists": {
			velerov1.BackupSpec{
				IncludedNamespaceScopedResources: []string{"pods"}, ExcludedClusterScopedResources: []string{"pv"},
			}, "pods",
		},
		"nothing with a namespace": {
			velerov1.BackupSpec{ExcludedNamespaceScopedResources: []string{"*"}}, "volumes",
		},
		"excluded by pattern": {
			velerov1.BackupSpec{ExcludedNamespaceScopedResources: []string{"persistent*"}}, "pods volumes",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, err := scope.New(&c.spec)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, resource := range []struct {
				name string
				in   bool
			}{{"pods", s.Pods()}, {"claims", s.Claims()}, {"volumes", s.Volumes()}} {
				if resource.in && got != "" {
					got += " "
				}
				if resource.in {
					got += resource.name
				}
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestRefused follows velero v1.18.3, pkg/controller/backup_controller.go, prepareBackupRequest.
func TestRefused(t *testing.T) {
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
	for name, spec := range map[string]velerov1.BackupSpec{
		"both families of lists": {
			IncludedResources: []string{"pods"}, ExcludedClusterScopedResources: []string{"nodes"},
		},
		"both kinds of selectors":          {LabelSelector: selector, OrLabelSelectors: []*metav1.LabelSelector{selector}},
		"* and a name":                     {IncludedNamespaces: []string{"*", "a"}},
		"all excluded":                     {ExcludedNamespaces: []string{"*"}},
		"all resources excluded":           {ExcludedResources: []string{"*"}},
		"in both lists":                    {IncludedNamespaces: []string{"a"}, ExcludedNamespaces: []string{"a"}},
		"two asterisks":                    {IncludedNamespaces: []string{"a**"}},
		"an open bracket":                  {IncludedNamespaces: []string{"a["}},
		"braces":                           {IncludedNamespaces: []string{"{a,b}"}},
		"a selector that cannot be read":   {LabelSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}}}},
		"included while all are left out ": {IncludedNamespaceScopedResources: []string{"pods"}, ExcludedNamespaceScopedResources: []string{"*"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := scope.New(&spec); err == nil {
				t.Error("it was not refused")
			}
		})
	}
}

// TestReach follows velero v1.18.3, pkg/backup/backup.go, executeItemBlockActions: what a label selector chooses brings
// along what belongs to it, unless itemInclusionChecks of pkg/backup/item_backupper.go leaves that out.
func TestReach(t *testing.T) {
	app := func(value string) map[string]string { return map[string]string{"app": value} }
	cases := map[string]struct {
		given func(w *world)
		want  map[string]scope.Why
	}{
		"nothing matches": {
			func(w *world) { w.pod("web", nil, "data"); w.claim("data", nil) },
			map[string]scope.Why{"web": scope.WhySelector, "data": scope.WhySelector},
		},
		"a pod brings its claims": {
			func(w *world) { w.pod("web", app("a"), "data"); w.claim("data", nil) },
			map[string]scope.Why{"web": scope.In, "data": scope.In},
		},
		"one of several selectors is enough": {
			func(w *world) { w.pod("web", app("b"), "data"); w.claim("data", nil) },
			map[string]scope.Why{"web": scope.In, "data": scope.In},
		},
		"a claim brings the pods that run": {
			func(w *world) {
				w.pod("web", nil, "data")
				w.pod("waiting", nil, "data").Status.Phase = corev1.PodPending
				w.claim("data", app("a"))
			},
			map[string]scope.Why{"web": scope.In, "waiting": scope.WhySelector, "data": scope.In},
		},
		"a claim that is not bound brings none": {
			func(w *world) {
				w.pod("web", nil, "data")
				w.claim("data", app("a")).Status.Phase = corev1.ClaimPending
			},
			map[string]scope.Why{"web": scope.WhySelector, "data": scope.In},
		},
		"from pod to claim to pod to claim": {
			func(w *world) {
				w.pod("web", app("a"), "shared")
				w.claim("shared", nil)
				w.pod("db", nil, "shared", "own")
				w.claim("own", nil)
			},
			map[string]scope.Why{"web": scope.In, "shared": scope.In, "db": scope.In, "own": scope.In},
		},
		"not past what is left out": {
			func(w *world) {
				w.pod("web", app("a"), "shared")
				w.claim("shared", map[string]string{contract.LabelExcludeFromBackup: "true"})
				w.pod("db", nil, "shared")
			},
			map[string]scope.Why{"web": scope.In, "shared": scope.WhyLabel, "db": scope.WhySelector},
		},
		"not past what is being deleted": {
			func(w *world) {
				w.pod("web", app("a"), "data").DeletionTimestamp = &metav1.Time{}
				w.claim("data", nil)
			},
			map[string]scope.Why{"web": scope.WhyDeleted, "data": scope.WhySelector},
		},
		"the claim of a generic ephemeral volume is not brought": {
			func(w *world) {
				pod := w.pod("web", app("a"))
				pod.Spec.Volumes = []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{
					Ephemeral: &corev1.EphemeralVolumeSource{},
				}}}
				w.claim("web-tmp", nil)
			},
			map[string]scope.Why{"web": scope.In, "web-tmp": scope.WhySelector},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := &world{scope.Group{Namespace: "foo"}}
			c.given(w)
			s, err := scope.New(&velerov1.BackupSpec{OrLabelSelectors: []*metav1.LabelSelector{
				{MatchLabels: app("a")}, {MatchLabels: app("b")},
			}})
			if err != nil {
				t.Fatal(err)
			}
			reach, got := s.Reach(w.Group), map[string]scope.Why{}
			for _, part := range []map[string]scope.Why{reach.Pods, reach.Claims} {
				for name, why := range part {
					got[name] = why
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("reach (-want +got):\n%s", diff)
			}
		})
	}
}

// world is what a backup may reach.
type world struct{ scope.Group }

func (w *world) pod(name string, labels map[string]string, claims ...string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "foo", Name: name, Labels: labels},
		Spec:       corev1.PodSpec{NodeName: "node"}, Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, claim := range claims {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: claim, VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
		}})
	}
	w.Pods = append(w.Pods, pod)
	return pod
}

func (w *world) claim(name string, labels map[string]string) *corev1.PersistentVolumeClaim {
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "foo", Name: name, Labels: labels},
		Spec:       corev1.PersistentVolumeClaimSpec{VolumeName: "pv-" + name},
		Status:     corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
	}
	w.Claims = append(w.Claims, claim)
	return claim
}

func TestCombine(t *testing.T) {
	type lists = volumepolicy.Resources
	cases := map[string]struct {
		spec   velerov1.BackupSpec
		policy lists
		// what of pods, claims and volumes is in the backup
		want string
	}{
		"an empty policy":     {velerov1.BackupSpec{}, lists{}, "pods claims volumes"},
		"it excludes claims":  {velerov1.BackupSpec{}, lists{ExcludedNamespaceScoped: []string{"pvc"}}, "pods volumes"},
		"it excludes by glob": {velerov1.BackupSpec{}, lists{ExcludedNamespaceScoped: []string{"persistent*"}}, "pods volumes"},
		"it includes others":  {velerov1.BackupSpec{}, lists{IncludedNamespaceScoped: []string{"deployments"}}, "volumes"},
		"it includes pods besides": {
			velerov1.BackupSpec{IncludedNamespaceScopedResources: []string{"persistentvolumeclaims"}},
			lists{IncludedNamespaceScoped: []string{"po"}},
			"pods claims volumes",
		},
		"it excludes what the spec includes": {
			velerov1.BackupSpec{IncludedNamespaceScopedResources: []string{"pvc"}},
			lists{ExcludedNamespaceScoped: []string{"persistentvolumeclaims"}},
			"claims volumes",
		},
		"it excludes where the spec includes all": {
			velerov1.BackupSpec{IncludedNamespaceScopedResources: []string{"*"}},
			lists{ExcludedNamespaceScoped: []string{"pods"}},
			"pods claims volumes",
		},
		"it includes what the spec excludes": {
			velerov1.BackupSpec{ExcludedNamespaceScopedResources: []string{"pods"}},
			lists{IncludedNamespaceScoped: []string{"pods"}},
			"claims volumes",
		},
		"it includes what it excludes under another name": {
			velerov1.BackupSpec{},
			lists{ExcludedNamespaceScoped: []string{"pods"}, IncludedNamespaceScoped: []string{"pod", "pvc"}},
			"claims volumes",
		},
		"it excludes volumes": {
			velerov1.BackupSpec{}, lists{ExcludedClusterScoped: []string{"pv"}}, "pods claims",
		},
		"it excludes volumes where they do not belong": {
			velerov1.BackupSpec{}, lists{ExcludedNamespaceScoped: []string{"pv"}}, "pods claims volumes",
		},
		"it excludes volumes that the spec includes": {
			velerov1.BackupSpec{IncludedClusterScopedResources: []string{"persistentvolumes"}},
			lists{ExcludedClusterScoped: []string{"pv"}},
			"pods claims volumes",
		},
		"old filters know nothing of it": {
			velerov1.BackupSpec{ExcludedResources: []string{"secrets"}},
			lists{ExcludedNamespaceScoped: []string{"pods"}},
			"pods claims volumes",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			before := c.spec.DeepCopy()
			s, err := scope.New(scope.Combine(&c.spec, &c.policy))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for what, in := range map[string]bool{"pods": s.Pods(), "claims": s.Claims(), "volumes": s.Volumes()} {
				if in {
					got = append(got, what)
				}
			}
			want := strings.Fields(c.want)
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("in the backup (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, &c.spec); diff != "" {
				t.Errorf("the spec was changed:\n%s", diff)
			}
		})
	}
}
