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

// Reason is why an object is not in a backup. The empty reason means that it is in the backup.
type Reason string

// The reasons.
const (
	// Included: the object is in the backup.
	Included Reason = ""
	// ReasonNamespace: the backup does not include the object's namespace, or excludes it.
	ReasonNamespace Reason = "Namespace"
	// ReasonNamespaceLabel: the object's namespace has the label velero.io/exclude-from-backup=true.
	ReasonNamespaceLabel Reason = "NamespaceLabel"
	// ReasonResource: the backup does not include objects of this kind, or excludes them.
	ReasonResource Reason = "Resource"
	// ReasonLabel: the object has the label velero.io/exclude-from-backup=true.
	ReasonLabel Reason = "Label"
	// ReasonSelector: no label selector of the backup matches the object, or an object that Velero includes it with.
	ReasonSelector Reason = "Selector"
	// ReasonDeleted: the object is being deleted.
	ReasonDeleted Reason = "Deleted"
)

// Scope is the set of objects that a backup includes. It is immutable, and safe for concurrent use.
type Scope struct {
	includedNamespaces, excludedNamespaces []string
	pods, claims, volumes                  bool
	selectors                              []labels.Selector
}

// New returns the scope of a backup with this spec. It returns an error if Velero rejects the spec: such a backup
// includes nothing.
func New(spec *velerov1.BackupSpec) (*Scope, error) {
	if err := validate(spec); err != nil {
		return nil, err
	}
	selectors, err := selectors(spec)
	if err != nil {
		return nil, err
	}
	return &Scope{
		includedNamespaces: spec.IncludedNamespaces, excludedNamespaces: spec.ExcludedNamespaces,
		pods: Includes(spec, Pods()), claims: Includes(spec, Claims()), volumes: includesVolumes(spec),
		selectors: selectors,
	}, nil
}

// Pods returns whether the backup includes pods.
func (s *Scope) Pods() bool { return s.pods }

// Claims returns whether the backup includes PersistentVolumeClaims.
func (s *Scope) Claims() bool { return s.claims }

// Volumes returns whether the backup includes the PersistentVolumes of its claims.
func (s *Scope) Volumes() bool { return s.volumes }

// Namespace returns whether the backup includes objects of the namespace with this name and these labels
// (velero v1.18.3, pkg/util/collections/includes_excludes.go, NamespaceIncludesExcludes; for the label
// pkg/controller/backup_controller.go, prepareBackupRequest).
func (s *Scope) Namespace(name string, labels map[string]string) Reason {
	matches := func(pattern string) bool {
		matched, err := path.Match(pattern, name)
		return err == nil && matched
	}
	switch {
	case slices.ContainsFunc(s.excludedNamespaces, matches),
		len(s.includedNamespaces) > 0 && !slices.ContainsFunc(s.includedNamespaces, matches):
		return ReasonNamespace
	case labels[contract.LabelExcludeFromBackup] == "true":
		return ReasonNamespaceLabel
	}
	return Included
}

// Group has pods and claims of one namespace. If a pod is in a group, all claims that it uses must be in it, too, and
// the other way round: a backup that includes one of them may include the others with it.
type Group struct {
	Namespace string
	// Labels are the labels of the namespace.
	Labels map[string]string
	Pods   []*corev1.Pod
	Claims []*corev1.PersistentVolumeClaim
}

// Result maps the names of the objects of a group to Included, or to why the backup does not include them.
type Result struct {
	Pods   map[string]Reason
	Claims map[string]Reason
}

// Evaluate returns which objects of the group are in the backup. Velero starts with the objects that a label selector
// matches. With a pod it includes the pod's claims, and with a bound claim the running pods that mount it, whatever
// labels they have, unless another reason excludes them (velero v1.18.3, pkg/backup/backup.go,
// executeItemBlockActions, with the related items of pkg/itemblock/actions/pod_action.go and pvc_action.go). These
// actions ignore the claims of generic ephemeral volumes.
func (s *Scope) Evaluate(g Group) Result {
	w := selectorWalk{Result: Result{Pods: map[string]Reason{}, Claims: map[string]Reason{}}, group: g}
	namespace := s.Namespace(g.Namespace, g.Labels)
	for _, pod := range g.Pods {
		w.Pods[pod.Name] = s.check(namespace, s.pods, pod)
	}
	for _, claim := range g.Claims {
		w.Claims[claim.Name] = s.check(namespace, s.claims, claim)
	}
	if len(s.selectors) > 0 && namespace == Included {
		w.run(s)
	}
	return w.Result
}

// check returns the reason that excludes an object even if a related object is in the backup (velero v1.18.3,
// pkg/backup/item_backupper.go, itemInclusionChecks).
func (s *Scope) check(namespace Reason, resource bool, object metav1.Object) Reason {
	switch {
	case namespace != Included:
		return namespace
	case !resource:
		return ReasonResource
	case object.GetLabels()[contract.LabelExcludeFromBackup] == "true":
		return ReasonLabel
	case object.GetDeletionTimestamp() != nil:
		return ReasonDeleted
	}
	return Included
}

func (s *Scope) selects(object metav1.Object) bool {
	return slices.ContainsFunc(s.selectors, func(selector labels.Selector) bool {
		return selector.Matches(labels.Set(object.GetLabels()))
	})
}

// selectorWalk finds the objects that the label selectors match, and the objects that Velero includes with them.
type selectorWalk struct {
	Result
	group Group
	// claimsOfPod maps the names of pods to the names of their claims, podsOfClaim those of claims to running pods.
	claimsOfPod map[string][]string
	podsOfClaim map[string][]string
	// bound has the names of the bound claims.
	bound map[string]bool
}

func (w *selectorWalk) run(s *Scope) {
	w.indexClaims()
	admittedPods, admittedClaims := w.Pods, w.Claims
	w.Pods, w.Claims = map[string]Reason{}, map[string]Reason{}
	for name, reason := range admittedPods {
		w.Pods[name] = untilSelected(reason)
	}
	for name, reason := range admittedClaims {
		w.Claims[name] = untilSelected(reason)
	}
	for _, pod := range w.group.Pods {
		if s.selects(pod) {
			w.addPod(pod.Name)
		}
	}
	for _, claim := range w.group.Claims {
		if s.selects(claim) {
			w.addClaim(claim.Name)
		}
	}
}

// untilSelected is the reason of an object before the walk reaches it.
func untilSelected(reason Reason) Reason {
	if reason == Included {
		return ReasonSelector
	}
	return reason
}

func (w *selectorWalk) indexClaims() {
	w.claimsOfPod, w.podsOfClaim, w.bound = map[string][]string{}, map[string][]string{}, map[string]bool{}
	for _, pod := range w.group.Pods {
		running := pod.Status.Phase == corev1.PodRunning && pod.Spec.NodeName != "" && pod.DeletionTimestamp == nil
		for i := range pod.Spec.Volumes {
			source := pod.Spec.Volumes[i].PersistentVolumeClaim
			if source == nil {
				continue
			}
			w.claimsOfPod[pod.Name] = append(w.claimsOfPod[pod.Name], source.ClaimName)
			if running {
				w.podsOfClaim[source.ClaimName] = append(w.podsOfClaim[source.ClaimName], pod.Name)
			}
		}
	}
	for _, claim := range w.group.Claims {
		w.bound[claim.Name] = claim.Status.Phase == corev1.ClaimBound && claim.Spec.VolumeName != ""
	}
}

func (w *selectorWalk) addPod(name string) {
	if w.Pods[name] != ReasonSelector {
		return
	}
	w.Pods[name] = Included
	for _, claim := range w.claimsOfPod[name] {
		w.addClaim(claim)
	}
}

func (w *selectorWalk) addClaim(name string) {
	if w.Claims[name] != ReasonSelector {
		return
	}
	w.Claims[name] = Included
	if !w.bound[name] {
		return
	}
	for _, pod := range w.podsOfClaim[name] {
		w.addPod(pod)
	}
}
