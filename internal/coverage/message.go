// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/scope"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
)

// title returns what messages call the plan.
func (p *Plan) title() string {
	if p.Name == "" {
		return "this backup"
	}
	return "Schedule " + p.Name
}

// noSchedule returns the candidate of a claim whose namespace no plan includes.
func (d *decider) noSchedule(claim *corev1.PersistentVolumeClaim, plans []*Plan) *candidate {
	c := &candidate{reason: ReasonNoSchedule, message: fmt.Sprintf("no Schedule includes namespace %s: create one, or "+
		"add the namespace to spec.template.includedNamespaces of an existing one", claim.Namespace)}
	var inactive []string
	for _, p := range plans {
		if reason := p.inactiveReason(); reason != "" && p.IncludesNamespace(claim.Namespace) {
			inactive = append(inactive, fmt.Sprintf("%s (%s)", p.Name, reason))
		}
	}
	if len(inactive) > 0 {
		c.message = fmt.Sprintf("no active Schedule includes namespace %s; these include it and are not active: %s",
			claim.Namespace, strings.Join(inactive, ", "))
	}
	return c
}

// filterMessage returns a message if a filter policy of the plan applies to the namespace, else "". The filter is not
// evaluated here, and a claim that it may exclude must not count as protected.
func (p *Plan) filterMessage(namespace string) string {
	if !p.own.Sections().FilterNamespace(namespace) {
		return ""
	}
	return fmt.Sprintf("namespacedFilterPolicies in the resource policies of %s filter the objects of namespace %s, "+
		"and "+
		"this program does not evaluate them: check the content of its backups with `velero backup describe "+
		"--details`, and then annotate the claim, or create a Schedule without them for the namespace",
		p.title(), namespace)
}

// claimExcluded returns the candidate of a claim that the plan excludes, although it includes the claim's namespace.
func (p *Plan) claimExcluded(claim *corev1.PersistentVolumeClaim, reason scope.Reason) candidate {
	name := claim.Namespace + "/" + claim.Name
	c := candidate{plan: p, reason: Reason(selection.ReasonExcluded)}
	switch reason {
	case scope.ReasonNamespaceLabel:
		c.message = fmt.Sprintf("namespace %s has label %s=true, so Velero excludes everything in it",
			claim.Namespace, contract.LabelExcludeFromBackup)
	case scope.ReasonLabel:
		c.message = fmt.Sprintf("claim %s has label %s=true, so Velero excludes the claim, and restic its data unless "+
			"the annotation %s of a pod names the volume", name, contract.LabelExcludeFromBackup,
			contract.AnnotationVolumesToBackup)
	case scope.ReasonDeleted:
		c.message = fmt.Sprintf("claim %s is being deleted, so Velero excludes it", name)
	case scope.ReasonResource:
		c.reason = Reason(selection.ReasonClaimsExcluded)
		c.message = fmt.Sprintf("the backups of %s exclude PersistentVolumeClaims, and with them their data: include "+
			"persistentvolumeclaims", p.title())
	case scope.ReasonSelector:
		c.reason = ReasonNoSchedule
		c.message = fmt.Sprintf("the label selector of %s matches neither claim %s nor a pod that uses it",
			p.title(), name)
	case scope.Included, scope.ReasonNamespace:
	}
	return c
}

// podExcluded returns the candidate of a claim if the plan includes the claim and excludes a pod that uses it.
func (p *Plan) podExcluded(pod *corev1.Pod, claim *corev1.PersistentVolumeClaim, reason scope.Reason) candidate {
	c := candidate{plan: p, pod: pod.Name, reason: Reason(selection.ReasonExcluded)}
	name := pod.Namespace + "/" + pod.Name
	switch reason {
	case scope.ReasonLabel:
		c.message = fmt.Sprintf("pod %s, which uses claim %s, has label %s=true, so Velero excludes it",
			name, claim.Name, contract.LabelExcludeFromBackup)
	case scope.ReasonResource:
		c.message = fmt.Sprintf("the backups of %s exclude pods, and restic backs up the data of claim %s/%s through "+
			"a pod: include pods", p.title(), claim.Namespace, claim.Name)
	case scope.ReasonDeleted:
		c.reason = Reason(selection.ReasonPodNotRunning)
		c.message = fmt.Sprintf("pod %s, which uses claim %s, is being deleted", name, claim.Name)
	case scope.ReasonSelector:
		c.reason = Reason(selection.ReasonPodNotRunning)
		c.message = fmt.Sprintf("pod %s, which uses claim %s, is not running (phase %s), and the label selector of %s "+
			"does not match it", name, claim.Name, pod.Status.Phase, p.title())
		if pod.Status.Phase == corev1.PodRunning {
			c.reason = ReasonNoSchedule
			c.message = fmt.Sprintf("the label selector of %s does not match pod %s, which owns claim %s",
				p.title(), name, claim.Name)
		}
	case scope.ReasonNamespaceLabel:
		return p.claimExcluded(claim, reason)
	case scope.Included, scope.ReasonNamespace:
	}
	return c
}

// unmounted returns the candidate of a claim that no pod uses.
func (p *Plan) unmounted(claim *corev1.PersistentVolumeClaim) candidate {
	c := candidate{plan: p, reason: ReasonUnmounted, message: fmt.Sprintf("no pod uses claim %s/%s, and restic reads "+
		"only volumes that a pod mounts: run a pod that mounts it, delete the claim, or declare that it needs no "+
		"backup "+
		"with `kubectl -n %s annotate pvc %s %s=true`",
		claim.Namespace, claim.Name, claim.Namespace, claim.Name, contract.AnnotationClaimIgnored)}
	if claim.Status.Phase != corev1.ClaimBound {
		c.reason = Reason(selection.ReasonClaimNotBound)
		c.message = fmt.Sprintf("claim %s/%s is not bound to a volume, and no pod uses it: delete it if it is not "+
			"needed",
			claim.Namespace, claim.Name)
	}
	return c
}
