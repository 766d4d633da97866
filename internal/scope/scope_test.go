// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package scope_test

import (
	"maps"
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

// TestNamespace compares with velero v1.18.3: NamespaceIncludesExcludes in pkg/util/collections/includes_excludes.go,
// and prepareBackupRequest in pkg/controller/backup_controller.go for empty lists and labels.
func TestNamespace(t *testing.T) {
	excluded := map[string]string{contract.LabelExcludeFromBackup: "true"}
	cases := map[string]struct {
		included, excluded []string
		labels             map[string]string
		want               scope.Reason
	}{
		"an empty list":                           {},
		"an asterisk":                             {included: []string{"*"}},
		"included by name":                        {included: []string{"bar", "app-1"}},
		"another name":                            {included: []string{"bar"}, want: scope.ReasonNamespace},
		"included by a pattern":                   {included: []string{"app-*"}},
		"included by a question mark":             {included: []string{"app-?"}},
		"included by a character class":           {included: []string{"app-[12]"}},
		"another pattern":                         {included: []string{"db-*"}, want: scope.ReasonNamespace},
		"excluded by name":                        {excluded: []string{"app-1"}, want: scope.ReasonNamespace},
		"excluded by a pattern":                   {excluded: []string{"*-1"}, want: scope.ReasonNamespace},
		"included by a pattern, excluded by name": {included: []string{"app-*"}, excluded: []string{"app-1"}, want: scope.ReasonNamespace},
		"included by name, excluded by a pattern": {included: []string{"app-1"}, excluded: []string{"app*"}, want: scope.ReasonNamespace},
		"excluded by its label":                   {labels: excluded, want: scope.ReasonNamespaceLabel},
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

// TestResources compares with velero v1.18.3, pkg/util/collections/includes_excludes.go: ShouldInclude of
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
		"volumes with all cluster-scoped resources": {
			velerov1.BackupSpec{
				IncludedResources: []string{"pods", "pvc"}, IncludeClusterResources: ptr.To(true),
			}, "pods claims volumes",
		},
		"no cluster-scoped resources": {
			velerov1.BackupSpec{IncludeClusterResources: ptr.To(false)}, "pods claims",
		},
		"claims excluded": {
			velerov1.BackupSpec{ExcludedResources: []string{"persistentvolumeclaim"}}, "pods volumes",
		},
		"filters by scope": {
			velerov1.BackupSpec{
				IncludedNamespaceScopedResources: []string{"pods"}, ExcludedClusterScopedResources: []string{"pv"},
			}, "pods",
		},
		"no namespace-scoped resources": {
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

// TestNewRejects compares with velero v1.18.3, pkg/controller/backup_controller.go, prepareBackupRequest.
func TestNewRejects(t *testing.T) {
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
	for name, spec := range map[string]velerov1.BackupSpec{
		"old and new filters": {
			IncludedResources: []string{"pods"}, ExcludedClusterScopedResources: []string{"nodes"},
		},
		"both kinds of selectors":            {LabelSelector: selector, OrLabelSelectors: []*metav1.LabelSelector{selector}},
		"an asterisk and a name":             {IncludedNamespaces: []string{"*", "a"}},
		"all namespaces excluded":            {ExcludedNamespaces: []string{"*"}},
		"all resources excluded":             {ExcludedResources: []string{"*"}},
		"a namespace in both lists":          {IncludedNamespaces: []string{"a"}, ExcludedNamespaces: []string{"a"}},
		"two asterisks in a row":             {IncludedNamespaces: []string{"a**"}},
		"an open bracket":                    {IncludedNamespaces: []string{"a["}},
		"braces":                             {IncludedNamespaces: []string{"{a,b}"}},
		"an invalid selector":                {LabelSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}}}},
		"included although all are excluded": {IncludedNamespaceScopedResources: []string{"pods"}, ExcludedNamespaceScopedResources: []string{"*"}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := scope.New(&spec); err == nil {
				t.Error("got no error")
			}
		})
	}
}

// TestEvaluate compares with velero v1.18.3: executeItemBlockActions in pkg/backup/backup.go includes objects that are
// related to selected ones, unless itemInclusionChecks in pkg/backup/item_backupper.go excludes them.
func TestEvaluate(t *testing.T) {
	app := func(value string) map[string]string { return map[string]string{"app": value} }
	cases := map[string]struct {
		given func(w *group)
		want  map[string]scope.Reason
	}{
		"nothing matches": {
			func(w *group) { w.pod("web", nil, "data"); w.claim("data", nil) },
			map[string]scope.Reason{"web": scope.ReasonSelector, "data": scope.ReasonSelector},
		},
		"a pod includes its claims": {
			func(w *group) { w.pod("web", app("a"), "data"); w.claim("data", nil) },
			map[string]scope.Reason{"web": scope.Included, "data": scope.Included},
		},
		"one of several selectors matches": {
			func(w *group) { w.pod("web", app("b"), "data"); w.claim("data", nil) },
			map[string]scope.Reason{"web": scope.Included, "data": scope.Included},
		},
		"a claim includes its running pods": {
			func(w *group) {
				w.pod("web", nil, "data")
				w.pod("waiting", nil, "data").Status.Phase = corev1.PodPending
				w.claim("data", app("a"))
			},
			map[string]scope.Reason{"web": scope.Included, "waiting": scope.ReasonSelector, "data": scope.Included},
		},
		"an unbound claim includes no pods": {
			func(w *group) {
				w.pod("web", nil, "data")
				w.claim("data", app("a")).Status.Phase = corev1.ClaimPending
			},
			map[string]scope.Reason{"web": scope.ReasonSelector, "data": scope.Included},
		},
		"from pod to claim to pod to claim": {
			func(w *group) {
				w.pod("web", app("a"), "shared")
				w.claim("shared", nil)
				w.pod("db", nil, "shared", "own")
				w.claim("own", nil)
			},
			map[string]scope.Reason{"web": scope.Included, "shared": scope.Included, "db": scope.Included, "own": scope.Included},
		},
		"not through an excluded claim": {
			func(w *group) {
				w.pod("web", app("a"), "shared")
				w.claim("shared", map[string]string{contract.LabelExcludeFromBackup: "true"})
				w.pod("db", nil, "shared")
			},
			map[string]scope.Reason{"web": scope.Included, "shared": scope.ReasonLabel, "db": scope.ReasonSelector},
		},
		"not through a pod that is being deleted": {
			func(w *group) {
				w.pod("web", app("a"), "data").DeletionTimestamp = &metav1.Time{}
				w.claim("data", nil)
			},
			map[string]scope.Reason{"web": scope.ReasonDeleted, "data": scope.ReasonSelector},
		},
		"not the claim of a generic ephemeral volume": {
			func(w *group) {
				pod := w.pod("web", app("a"))
				pod.Spec.Volumes = []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{
					Ephemeral: &corev1.EphemeralVolumeSource{},
				}}}
				w.claim("web-tmp", nil)
			},
			map[string]scope.Reason{"web": scope.Included, "web-tmp": scope.ReasonSelector},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := &group{scope.Group{Namespace: "foo"}}
			c.given(w)
			s, err := scope.New(&velerov1.BackupSpec{OrLabelSelectors: []*metav1.LabelSelector{
				{MatchLabels: app("a")}, {MatchLabels: app("b")},
			}})
			if err != nil {
				t.Fatal(err)
			}
			result, got := s.Evaluate(w.Group), map[string]scope.Reason{}
			for _, part := range []map[string]scope.Reason{result.Pods, result.Claims} {
				maps.Copy(got, part)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

// group builds a scope.Group.
type group struct{ scope.Group }

func (w *group) pod(name string, labels map[string]string, claims ...string) *corev1.Pod {
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

func (w *group) claim(name string, labels map[string]string) *corev1.PersistentVolumeClaim {
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
		// want lists which of pods, claims and volumes the backup includes.
		want string
	}{
		"an empty policy":       {velerov1.BackupSpec{}, lists{}, "pods claims volumes"},
		"it excludes claims":    {velerov1.BackupSpec{}, lists{ExcludedNamespaceScoped: []string{"pvc"}}, "pods volumes"},
		"it excludes by a glob": {velerov1.BackupSpec{}, lists{ExcludedNamespaceScoped: []string{"persistent*"}}, "pods volumes"},
		"it includes others":    {velerov1.BackupSpec{}, lists{IncludedNamespaceScoped: []string{"deployments"}}, "volumes"},
		"it includes pods in addition": {
			velerov1.BackupSpec{IncludedNamespaceScopedResources: []string{"persistentvolumeclaims"}},
			lists{IncludedNamespaceScoped: []string{"po"}},
			"pods claims volumes",
		},
		"it excludes what the spec includes": {
			velerov1.BackupSpec{IncludedNamespaceScopedResources: []string{"pvc"}},
			lists{ExcludedNamespaceScoped: []string{"persistentvolumeclaims"}},
			"claims volumes",
		},
		"it excludes pods, the spec includes all": {
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
		"it excludes volumes in the wrong list": {
			velerov1.BackupSpec{}, lists{ExcludedNamespaceScoped: []string{"pv"}}, "pods claims volumes",
		},
		"it excludes volumes that the spec includes": {
			velerov1.BackupSpec{IncludedClusterScopedResources: []string{"persistentvolumes"}},
			lists{ExcludedClusterScoped: []string{"pv"}},
			"pods claims volumes",
		},
		"old filters ignore the policy": {
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
