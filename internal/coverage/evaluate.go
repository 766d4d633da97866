// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/scope"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumepolicy"
)

// evaluate adds a plan's candidates to the result for a claim. The plan includes the claim's namespace.
func (d *decider) evaluate(v *Result, claim *corev1.PersistentVolumeClaim, p *Plan) {
	if p.refusal != nil {
		v.consider(candidate{plan: p, reason: p.refusal.reason, message: fmt.Sprintf(
			"Velero rejects the backups of %s: %s", p.title(), p.refusal.text)})
		return
	}
	if filterMessage := p.filterMessage(d.group.Namespace); filterMessage != "" {
		v.consider(candidate{plan: p, reason: Reason(selection.ReasonExcluded), message: filterMessage})
		return
	}
	reason := d.scopeResult(p).Claims[claim.Name]
	if reason != scope.Included && !d.ephemeral(claim) {
		v.consider(p.claimExcluded(claim, reason))
		if reason == scope.ReasonLabel {
			d.evaluateLabeledClaim(v, claim, p)
		}
		return
	}
	snapshot := d.snapshot(claim, p)
	v.consider(snapshot)
	if snapshot.protected() {
		return
	}
	for _, i := range d.relevant(claim) {
		v.consider(d.throughPod(i, claim, p))
	}
	if len(d.users[claim.Name]) == 0 {
		v.consider(p.unmounted(claim))
	}
}

// evaluateLabeledClaim adds the pods through which restic backs up a claim that Velero's label excludes: see
// checkExcluded in package selection.
func (d *decider) evaluateLabeledClaim(v *Result, claim *corev1.PersistentVolumeClaim, p *Plan) {
	for _, i := range d.relevant(claim) {
		if c := d.throughPod(i, claim, p); c.protected() {
			v.consider(c)
		}
	}
}

// ephemeral returns whether the claim belongs to a generic ephemeral volume. The backup need not include such a claim,
// because Kubernetes re-creates it with the pod.
func (d *decider) ephemeral(claim *corev1.PersistentVolumeClaim) bool {
	return slices.ContainsFunc(d.users[claim.Name], func(i int) bool {
		pod := d.group.Pods[i]
		return slices.ContainsFunc(pod.Spec.Volumes, func(volume corev1.Volume) bool {
			return volume.Ephemeral != nil && selection.ClaimName(pod.Pod, &volume) == claim.Name
		})
	})
}

// relevant returns the pods that decide on the claim: those that have not finished, or all if all have finished.
func (d *decider) relevant(claim *corev1.PersistentVolumeClaim) []int {
	users := d.users[claim.Name]
	live := slices.DeleteFunc(slices.Clone(users), func(i int) bool { return d.group.Pods[i].finished() })
	if len(live) > 0 {
		return live
	}
	return users
}

// throughPod returns the candidate for a claim through one of its pods.
func (d *decider) throughPod(i int, claim *corev1.PersistentVolumeClaim, p *Plan) candidate {
	pod := d.group.Pods[i]
	if reason := d.scopeResult(p).Pods[pod.Name]; reason != scope.Included {
		return p.podExcluded(pod.Pod, claim, reason)
	}
	volumes := d.selectVolumes(i, p)
	best := candidate{plan: p, reason: ReasonNoSchedule, pod: pod.Name}
	for _, decision := range volumes.decisions {
		if decision.Claim == nil || decision.Claim.Name != claim.Name {
			continue
		}
		c := candidate{
			plan: p, pod: pod.Name, volume: decision.Volume, reason: Reason(decision.Reason), message: decision.Message,
		}
		switch {
		case volumes.blocking != nil:
			c.reason, c.message = Reason(volumes.blocking.Reason), volumes.blocking.Message
		case decision.Take:
			c.method = MethodRestic
		case d.byNodeAgent(pod, decision, p):
			c.method, c.reason, c.message = MethodNodeAgent, "", ""
		case decision.Reason == selection.ReasonNotAsked:
			c.message += ": name it in the annotation " + contract.AnnotationVolumesToBackup +
				" of the pod or of its template, or add a rule that includes it"
		}
		if c.method != "" || best.volume == "" || c.before(best) {
			best = c
		}
	}
	return best
}

// byNodeAgent returns whether Velero's node-agent backs up the volume.
func (d *decider) byNodeAgent(pod Pod, decision selection.Decision, p *Plan) bool {
	if !decision.LeftToVelero || !pod.NodeAgent || pod.Status.Phase != corev1.PodRunning {
		return false
	}
	action, found := p.settings.merged.Match(volumepolicy.Volume{PVC: decision.Claim, PV: decision.PV})
	return decision.Reason == selection.ReasonLeftToVelero || found && action.Type == volumepolicy.ActionFSBackup
}
