// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package scope

import (
	"path"
	"slices"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// Why is why something is not in a backup. The zero one means that it is.
type Why string

// The causes.
const (
	// In is in the backup.
	In Why = ""
	// WhyNamespace is in a namespace that the backup does not include, or excludes.
	WhyNamespace Why = "Namespace"
	// WhyNamespaceLabel is in a namespace with label velero.io/exclude-from-backup=true.
	WhyNamespaceLabel Why = "NamespaceLabel"
	// WhyResource is of a kind that the backup does not include, or excludes.
	WhyResource Why = "Resource"
	// WhyLabel has label velero.io/exclude-from-backup=true itself.
	WhyLabel Why = "Label"
	// WhySelector matches no label selector of the backup, and nothing that does brings it along.
	WhySelector Why = "Selector"
	// WhyDeleted is being deleted.
	WhyDeleted Why = "Deleted"
)

// Scope is what a backup reaches. It does not change and may be used concurrently.
type Scope struct {
	included, excluded    []string
	pods, claims, volumes bool
	selectors             []labels.Selector
}

// New returns the scope of a backup, or of a schedule's backups. It fails on what Velero refuses: such a backup takes
// nothing.
func New(spec *velerov1.BackupSpec) (*Scope, error) {
	if err := validate(spec); err != nil {
		return nil, err
	}
	selectors, err := selectors(spec)
	if err != nil {
		return nil, err
	}
	return &Scope{
		included: spec.IncludedNamespaces, excluded: spec.ExcludedNamespaces,
		pods: Includes(spec, Pods()), claims: Includes(spec, Claims()), volumes: AdmitsVolumes(spec),
		selectors: selectors,
	}, nil
}

// Pods, Claims and Volumes say whether the backup takes objects of that kind at all.
func (s *Scope) Pods() bool { return s.pods }

// Claims is like Pods.
func (s *Scope) Claims() bool { return s.claims }

// Volumes is like Pods, for PersistentVolumes that come with their claims.
func (s *Scope) Volumes() bool { return s.volumes }

// Namespace says whether the backup takes anything of a namespace, known by name and labels
// (velero v1.18.3, pkg/util/collections/includes_excludes.go, NamespaceIncludesExcludes; for the label
// pkg/controller/backup_controller.go, prepareBackupRequest).
func (s *Scope) Namespace(name string, labels map[string]string) Why {
	matches := func(pattern string) bool {
		matched, err := path.Match(pattern, name)
		return err == nil && matched
	}
	switch {
	case slices.ContainsFunc(s.excluded, matches), len(s.included) > 0 && !slices.ContainsFunc(s.included, matches):
		return WhyNamespace
	case labels[contract.LabelExcludeFromBackup] == "true":
		return WhyNamespaceLabel
	}
	return In
}

// Group is pods and claims of one namespace. Pods and claims that hang together, by claims that pods use, must be in
// one Group: one of them in a backup can bring the others along.
type Group struct {
	Namespace string
	// Labels are those of the namespace.
	Labels map[string]string
	Pods   []*corev1.Pod
	Claims []*corev1.PersistentVolumeClaim
}

// Reach is which objects of a group are in a backup, by name.
type Reach struct {
	Pods   map[string]Why
	Claims map[string]Why
}

// Reach returns what the backup takes of the group. Label selectors choose where Velero begins; from there a pod brings
// its claims, and a bound claim brings the pods that run and mount it, whatever their labels are, unless they are left
// out for another cause (velero v1.18.3, pkg/backup/backup.go, executeItemBlockActions, with the related items of
// pkg/itemblock/actions/pod_action.go and pvc_action.go). Neither knows the claims of generic ephemeral volumes.
func (s *Scope) Reach(g Group) Reach {
	w := walk{Reach: Reach{Pods: map[string]Why{}, Claims: map[string]Why{}}, group: g}
	namespace := s.Namespace(g.Namespace, g.Labels)
	for _, pod := range g.Pods {
		w.Pods[pod.Name] = s.admits(namespace, s.pods, pod)
	}
	for _, claim := range g.Claims {
		w.Claims[claim.Name] = s.admits(namespace, s.claims, claim)
	}
	if len(s.selectors) > 0 && namespace == In {
		w.run(s)
	}
	return w.Reach
}

// admits makes the checks that no relation gets around (velero v1.18.3, pkg/backup/item_backupper.go,
// itemInclusionChecks).
func (s *Scope) admits(namespace Why, resource bool, object metav1.Object) Why {
	switch {
	case namespace != In:
		return namespace
	case !resource:
		return WhyResource
	case object.GetLabels()[contract.LabelExcludeFromBackup] == "true":
		return WhyLabel
	case object.GetDeletionTimestamp() != nil:
		return WhyDeleted
	}
	return In
}

func (s *Scope) selects(object metav1.Object) bool {
	return slices.ContainsFunc(s.selectors, func(selector labels.Selector) bool {
		return selector.Matches(labels.Set(object.GetLabels()))
	})
}

// walk goes from what selectors choose to what that brings along.
type walk struct {
	Reach
	group Group
	// mounts are the names of the claims that a pod mounts, by the pod's name; users the other way round.
	mounts map[string][]string
	users  map[string][]string
	// bound are the claims that bring pods along.
	bound map[string]bool
}

func (w *walk) run(s *Scope) {
	w.relate()
	admittedPods, admittedClaims := w.Pods, w.Claims
	w.Pods, w.Claims = map[string]Why{}, map[string]Why{}
	for name, why := range admittedPods {
		w.Pods[name] = outside(why)
	}
	for name, why := range admittedClaims {
		w.Claims[name] = outside(why)
	}
	for _, pod := range w.group.Pods {
		if s.selects(pod) {
			w.takePod(pod.Name)
		}
	}
	for _, claim := range w.group.Claims {
		if s.selects(claim) {
			w.takeClaim(claim.Name)
		}
	}
}

// outside is how something counts until a selector, or something that is selected, reaches it.
func outside(why Why) Why {
	if why == In {
		return WhySelector
	}
	return why
}

func (w *walk) relate() {
	w.mounts, w.users, w.bound = map[string][]string{}, map[string][]string{}, map[string]bool{}
	for _, pod := range w.group.Pods {
		running := pod.Status.Phase == corev1.PodRunning && pod.Spec.NodeName != "" && pod.DeletionTimestamp == nil
		for i := range pod.Spec.Volumes {
			source := pod.Spec.Volumes[i].PersistentVolumeClaim
			if source == nil {
				continue
			}
			w.mounts[pod.Name] = append(w.mounts[pod.Name], source.ClaimName)
			if running {
				w.users[source.ClaimName] = append(w.users[source.ClaimName], pod.Name)
			}
		}
	}
	for _, claim := range w.group.Claims {
		w.bound[claim.Name] = claim.Status.Phase == corev1.ClaimBound && claim.Spec.VolumeName != ""
	}
}

func (w *walk) takePod(name string) {
	if w.Pods[name] != WhySelector {
		return
	}
	w.Pods[name] = In
	for _, claim := range w.mounts[name] {
		w.takeClaim(claim)
	}
}

func (w *walk) takeClaim(name string) {
	if w.Claims[name] != WhySelector {
		return
	}
	w.Claims[name] = In
	if !w.bound[name] {
		return
	}
	for _, pod := range w.users[name] {
		w.takePod(pod)
	}
}
