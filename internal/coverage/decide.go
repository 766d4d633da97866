// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/scope"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
)

// Pod is a pod with what is known of its node.
type Pod struct {
	*corev1.Pod
	// NodeOS is the label kubernetes.io/os of the node.
	NodeOS string
	// NodeAgent says that Velero's node-agent runs there.
	NodeAgent bool
}

// finished says that the pod has run to its end, or is about to be gone: it is no reason to think that a claim is in
// use.
func (p Pod) finished() bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed || p.DeletionTimestamp != nil
}

// Group is claims and the pods that use them, of one namespace. Whatever hangs together, by claims that pods share,
// must be in one Group: one volume can cost a pod its backup, and with that another claim.
type Group struct {
	Namespace string
	// Labels are those of the namespace.
	Labels map[string]string
	Pods   []Pod
	Claims []*corev1.PersistentVolumeClaim
	// Volumes are the PersistentVolumes by name.
	Volumes map[string]*corev1.PersistentVolume
}

// Decide returns what becomes of each claim of the group, by name, under all plans.
func Decide(g Group, plans []*Plan) map[string]Verdict {
	d := newDecider(g)
	verdicts := make(map[string]Verdict, len(g.Claims))
	for _, claim := range g.Claims {
		v := Verdict{ignored: claim.Annotations[contract.AnnotationClaimIgnored] == "true"}
		for _, plan := range plans {
			if plan.idle() == "" && plan.Reaches(g.Namespace) {
				d.judge(&v, claim, plan)
			}
		}
		if v.best == nil && len(v.takers) == 0 {
			v.best = d.unreached(claim, plans)
		}
		verdicts[claim.Name] = v
	}
	return verdicts
}

// decider answers for one group.
type decider struct {
	group  Group
	scoped scope.Group
	claims map[string]*corev1.PersistentVolumeClaim
	// users are the pods of a claim, by its name, as places in group.Pods.
	users map[string][]int
	// chosen remembers what selection said, since most plans ask alike.
	chosen map[choice][]*podChoice
	// reached remembers by plan which of the group is in its backups.
	reached map[*Plan]scope.Reach
}

// podChoice is what selection says of one pod.
type podChoice struct {
	decisions []selection.Decision
	// cost is the decision for whose sake Velero leaves the whole pod out, if there is one.
	cost *selection.Decision
	// labels are the names of the claims that the plugin labels.
	labels map[string]bool
}

func newDecider(g Group) *decider {
	d := &decider{
		group: g, scoped: scope.Group{Namespace: g.Namespace, Labels: g.Labels, Claims: g.Claims},
		claims:  make(map[string]*corev1.PersistentVolumeClaim, len(g.Claims)),
		users:   map[string][]int{},
		chosen:  map[choice][]*podChoice{},
		reached: map[*Plan]scope.Reach{},
	}
	for _, claim := range g.Claims {
		d.claims[claim.Name] = claim
	}
	for i, pod := range g.Pods {
		d.scoped.Pods = append(d.scoped.Pods, pod.Pod)
		seen := map[string]bool{}
		for _, name := range selection.ClaimNames(pod.Pod) {
			if !seen[name] {
				seen[name] = true
				d.users[name] = append(d.users[name], i)
			}
		}
	}
	return d
}

// reach returns which pods and claims of the group are in the plan's backups.
func (d *decider) reach(p *Plan) scope.Reach {
	reach, known := d.reached[p]
	if !known {
		reach = p.Scope.Reach(d.scoped)
		d.reached[p] = reach
	}
	return reach
}

// choose asks selection about a pod, as the plugin does at a backup: by then it has labeled the claims.
func (d *decider) choose(i int, p *Plan) *podChoice {
	all := d.chosen[p.choice]
	if all == nil {
		all = make([]*podChoice, len(d.group.Pods))
		d.chosen[p.choice] = all
	}
	if all[i] == nil {
		all[i] = d.ask(d.group.Pods[i], p)
	}
	return all[i]
}

func (d *decider) ask(pod Pod, p *Plan) *podChoice {
	in := selection.Input{
		Pod: pod.Pod, DefaultVolumes: p.choice.defaultVolumes, Policies: p.choice.merged,
		Rules: p.choice.rules, RulesInvalid: p.choice.rulesInvalid,
		Claims: d.claims, Volumes: d.group.Volumes, NodeAgent: pod.NodeAgent, NodeOS: pod.NodeOS,
		ClaimsExcluded: p.choice.claimsExcluded, AssumeClaimed: true,
	}
	c := &podChoice{decisions: selection.Decide(in), labels: map[string]bool{}}
	for i := range c.decisions {
		if c.decisions[i].CostsPod {
			c.cost = &c.decisions[i]
			break
		}
	}
	for _, claim := range selection.ClaimsToLabel(in) {
		c.labels[claim.Name] = true
	}
	return c
}

// pv returns what the claim is bound to, nil if it is not or that is not there.
func (d *decider) pv(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	if claim.Status.Phase != corev1.ClaimBound {
		return nil
	}
	return d.group.Volumes[claim.Spec.VolumeName]
}
