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

// judge adds to the verdict what one plan, whose backups have the claim's namespace, does with the claim.
func (d *decider) judge(v *Verdict, claim *corev1.PersistentVolumeClaim, p *Plan) {
	if p.refusal != nil {
		v.consider(candidate{plan: p, reason: p.refusal.reason, message: fmt.Sprintf(
			"Velero refuses the backups of %s: %s", p.title(), p.refusal.text)})
		return
	}
	if filter := p.filter(d.group.Namespace); filter != "" {
		v.consider(candidate{plan: p, reason: Reason(selection.ReasonExcluded), message: filter})
		return
	}
	why := d.reach(p).Claims[claim.Name]
	if why != scope.In && !d.ephemeral(claim) {
		v.consider(p.outside(claim, why))
		if why == scope.WhyLabel {
			d.judgeLabeled(v, claim, p)
		}
		return
	}
	snapshot := d.snapshot(claim, p)
	v.consider(snapshot)
	if snapshot.protected() {
		return
	}
	for _, i := range d.relevant(claim) {
		v.consider(d.through(i, claim, p))
	}
	if len(d.users[claim.Name]) == 0 {
		v.consider(p.unused(claim))
	}
}

// judgeLabeled adds the pods that have the data of a claim taken which is itself left out by Velero's label: see
// selection, checkExcluded.
func (d *decider) judgeLabeled(v *Verdict, claim *corev1.PersistentVolumeClaim, p *Plan) {
	for _, i := range d.relevant(claim) {
		if c := d.through(i, claim, p); c.protected() {
			v.consider(c)
		}
	}
}

// ephemeral says whether the claim is that of a generic ephemeral volume, whose data goes with the pod: a restore makes
// the claim anew.
func (d *decider) ephemeral(claim *corev1.PersistentVolumeClaim) bool {
	return slices.ContainsFunc(d.users[claim.Name], func(i int) bool {
		pod := d.group.Pods[i]
		return slices.ContainsFunc(pod.Spec.Volumes, func(volume corev1.Volume) bool {
			return volume.Ephemeral != nil && selection.ClaimName(pod.Pod, &volume) == claim.Name
		})
	})
}

// relevant returns the pods that decide on the claim: those that have not finished, or else all.
func (d *decider) relevant(claim *corev1.PersistentVolumeClaim) []int {
	users := d.users[claim.Name]
	live := slices.DeleteFunc(slices.Clone(users), func(i int) bool { return d.group.Pods[i].finished() })
	if len(live) > 0 {
		return live
	}
	return users
}

// through says what becomes of the claim through one of its pods.
func (d *decider) through(i int, claim *corev1.PersistentVolumeClaim, p *Plan) candidate {
	pod := d.group.Pods[i]
	if why := d.reach(p).Pods[pod.Name]; why != scope.In {
		return p.podOutside(pod.Pod, claim, why)
	}
	choice := d.choose(i, p)
	best := candidate{plan: p, reason: ReasonNoSchedule, pod: pod.Name}
	for _, decision := range choice.decisions {
		if decision.Claim == nil || decision.Claim.Name != claim.Name {
			continue
		}
		c := candidate{
			plan: p, pod: pod.Name, volume: decision.Volume, reason: Reason(decision.Reason), message: decision.Message,
		}
		switch {
		case choice.cost != nil:
			c.reason, c.message = Reason(choice.cost.Reason), choice.cost.Message
		case decision.Take:
			c.method = MethodRestic
		case d.byNodeAgent(pod, decision, p):
			c.method, c.reason, c.message = MethodNodeAgent, "", ""
		case decision.Reason == selection.ReasonNotAsked:
			c.message += ": name it in annotation " + contract.AnnotationVolumesToBackup +
				" of the pod or of its template, or include it by a rule"
		}
		if c.method != "" || best.volume == "" || c.before(best) {
			best = c
		}
	}
	return best
}

// byNodeAgent says whether Velero's own file-system backup takes the volume.
func (d *decider) byNodeAgent(pod Pod, decision selection.Decision, p *Plan) bool {
	if !decision.LeftToVelero || !pod.NodeAgent || pod.Status.Phase != corev1.PodRunning {
		return false
	}
	action, found := p.choice.merged.Match(volumepolicy.Volume{PVC: decision.Claim, PV: decision.PV})
	return decision.Reason == selection.ReasonLeftToVelero || found && action.Type == volumepolicy.ActionFSBackup
}
