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

// title is how messages call the plan.
func (p *Plan) title() string {
	if p.Name == "" {
		return "such a backup"
	}
	return "Schedule " + p.Name
}

// unreached says why no plan has the claim's namespace.
func (d *decider) unreached(claim *corev1.PersistentVolumeClaim, plans []*Plan) *candidate {
	c := &candidate{reason: ReasonNoSchedule, message: fmt.Sprintf("no Schedule has namespace %s in its backups: "+
		"create one, or add the namespace to spec.template.includedNamespaces of one that there is", claim.Namespace)}
	var idle []string
	for _, p := range plans {
		if why := p.idle(); why != "" && p.Reaches(claim.Namespace) {
			idle = append(idle, fmt.Sprintf("%s (%s)", p.Name, why))
		}
	}
	if len(idle) > 0 {
		c.message = fmt.Sprintf("no Schedule that makes backups has namespace %s in them; these would have it: %s",
			claim.Namespace, strings.Join(idle, ", "))
	}
	return c
}

// filter tells of a filter policy for a namespace, empty without one. What it leaves out is not found out here, and
// what it may leave out must not count as protected.
func (p *Plan) filter(namespace string) string {
	if !p.own.Sections().FilterNamespace(namespace) {
		return ""
	}
	return fmt.Sprintf("namespacedFilterPolicies in the resource policies of %s filter what it takes of namespace %s, "+
		"and whether this is among it is not looked at: see what its backups hold with `velero backup describe "+
		"--details`, and then declare the claim, or give the namespace a Schedule without them", p.title(), namespace)
}

// outside says why the claim is not in the plan's backups, though its namespace is.
func (p *Plan) outside(claim *corev1.PersistentVolumeClaim, why scope.Why) candidate {
	name := claim.Namespace + "/" + claim.Name
	c := candidate{plan: p, reason: Reason(selection.ReasonExcluded)}
	switch why {
	case scope.WhyNamespaceLabel:
		c.message = fmt.Sprintf("namespace %s has label %s=true, with which Velero leaves out all that is in it",
			claim.Namespace, contract.LabelExcludeFromBackup)
	case scope.WhyLabel:
		c.message = fmt.Sprintf("claim %s has label %s=true, with which Velero leaves it out, and restic its data "+
			"unless the annotation %s of a pod names the volume", name, contract.LabelExcludeFromBackup,
			contract.AnnotationVolumesToBackup)
	case scope.WhyDeleted:
		c.message = fmt.Sprintf("claim %s is being deleted, and Velero leaves out what is", name)
	case scope.WhyResource:
		c.reason = Reason(selection.ReasonClaimsExcluded)
		c.message = fmt.Sprintf("the backups of %s leave PersistentVolumeClaims out, and the data goes with its "+
			"claim: include persistentvolumeclaims in them", p.title())
	case scope.WhySelector:
		c.reason = ReasonNoSchedule
		c.message = fmt.Sprintf("the label selector of %s matches neither claim %s nor a pod that uses it",
			p.title(), name)
	case scope.In, scope.WhyNamespace:
	}
	return c
}

// podOutside says why a pod that uses the claim is not in the plan's backups, though the claim is.
func (p *Plan) podOutside(pod *corev1.Pod, claim *corev1.PersistentVolumeClaim, why scope.Why) candidate {
	c := candidate{plan: p, pod: pod.Name, reason: Reason(selection.ReasonExcluded)}
	name := pod.Namespace + "/" + pod.Name
	switch why {
	case scope.WhyLabel:
		c.message = fmt.Sprintf("pod %s, which uses claim %s, has label %s=true, with which Velero leaves it out",
			name, claim.Name, contract.LabelExcludeFromBackup)
	case scope.WhyResource:
		c.message = fmt.Sprintf("the backups of %s leave pods out, and the data of claim %s/%s is taken through a "+
			"pod: include pods in them", p.title(), claim.Namespace, claim.Name)
	case scope.WhyDeleted:
		c.reason = Reason(selection.ReasonPodNotRunning)
		c.message = fmt.Sprintf("pod %s, which uses claim %s, is being deleted", name, claim.Name)
	case scope.WhySelector:
		c.reason = Reason(selection.ReasonPodNotRunning)
		c.message = fmt.Sprintf("pod %s, which uses claim %s, does not run (phase %s), and the label selector of %s "+
			"does not match it", name, claim.Name, pod.Status.Phase, p.title())
		if pod.Status.Phase == corev1.PodRunning {
			c.reason = ReasonNoSchedule
			c.message = fmt.Sprintf("the label selector of %s does not match pod %s, to which claim %s belongs",
				p.title(), name, claim.Name)
		}
	case scope.WhyNamespaceLabel:
		return p.outside(claim, why)
	case scope.In, scope.WhyNamespace:
	}
	return c
}

// unused is about a claim that no pod uses.
func (p *Plan) unused(claim *corev1.PersistentVolumeClaim) candidate {
	c := candidate{plan: p, reason: ReasonUnmounted, message: fmt.Sprintf("no pod uses claim %s/%s, and restic reads "+
		"a volume where a pod mounts it: run a pod that does, delete the claim, or declare that it needs no backup "+
		"with `kubectl -n %s annotate pvc %s %s=true`",
		claim.Namespace, claim.Name, claim.Namespace, claim.Name, contract.AnnotationClaimIgnored)}
	if claim.Status.Phase != corev1.ClaimBound {
		c.reason = Reason(selection.ReasonClaimNotBound)
		c.message = fmt.Sprintf("claim %s/%s is bound to no volume, and no pod uses it: delete it if nobody needs it",
			claim.Namespace, claim.Name)
	}
	return c
}
