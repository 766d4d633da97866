// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/scope"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
)

// Pod is a pod with the facts about its node that matter.
type Pod struct {
	*corev1.Pod
	// NodeOS is the label kubernetes.io/os of the node.
	NodeOS string
	// NodeAgent is true if Velero's node-agent runs on the node.
	NodeAgent bool
}

// finished returns whether the pod has ended or is being deleted. Such a pod does not prove that a claim is in use.
func (p Pod) finished() bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed || p.DeletionTimestamp != nil
}

// Group has claims and the pods that use them, of one namespace. Claims and pods that are connected, because pods share
// claims, must be in the same Group: one volume can exclude a pod from the backup, and with it another claim.
type Group struct {
	Namespace string
	// Labels are the labels of the namespace.
	Labels map[string]string
	Pods   []Pod
	Claims []*corev1.PersistentVolumeClaim
	// Volumes are the PersistentVolumes of the claims, by name.
	Volumes map[string]*corev1.PersistentVolume
}

// Decide returns the results of all claims of the group under all plans, by the claims' names.
func Decide(g Group, plans []*Plan) map[string]Result {
	d := newDecider(g)
	results := make(map[string]Result, len(g.Claims))
	for _, claim := range g.Claims {
		v := Result{ignored: claim.Annotations[contract.AnnotationClaimIgnored] == "true"}
		for _, plan := range plans {
			if plan.inactiveReason() == "" && plan.IncludesNamespace(g.Namespace) {
				d.evaluate(&v, claim, plan)
			}
		}
		if v.best == nil && len(v.resticPlans) == 0 {
			v.best = d.noSchedule(claim, plans)
		}
		results[claim.Name] = v
	}
	return results
}

// decider evaluates one group.
type decider struct {
	group  Group
	scoped scope.Group
	claims map[string]*corev1.PersistentVolumeClaim
	// users maps names of claims to the indexes in group.Pods of the pods that use them.
	users map[string][]int
	// selections caches the results of package selection, because most plans have the same settings.
	selections map[selectionSettings][]*podSelection
	// scopeResults caches which objects of the group are in the backups of a plan.
	scopeResults map[*Plan]scope.Result
}

// podSelection is the result of package selection for one pod.
type podSelection struct {
	decisions []selection.Decision
	// blocking is the decision that makes Velero exclude the whole pod; nil if there is none.
	blocking *selection.Decision
	// labels are the names of the claims that the plugin labels.
	labels map[string]bool
}

func newDecider(g Group) *decider {
	d := &decider{
		group: g, scoped: scope.Group{Namespace: g.Namespace, Labels: g.Labels, Claims: g.Claims},
		claims:       make(map[string]*corev1.PersistentVolumeClaim, len(g.Claims)),
		users:        map[string][]int{},
		selections:   map[selectionSettings][]*podSelection{},
		scopeResults: map[*Plan]scope.Result{},
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

// scopeResult returns which pods and claims of the group are in the plan's backups.
func (d *decider) scopeResult(p *Plan) scope.Result {
	reach, known := d.scopeResults[p]
	if !known {
		reach = p.Scope.Evaluate(d.scoped)
		d.scopeResults[p] = reach
	}
	return reach
}

// selectVolumes returns the selection for a pod as the plugin makes it during a backup, after it labeled the claims.
func (d *decider) selectVolumes(i int, p *Plan) *podSelection {
	all := d.selections[p.settings]
	if all == nil {
		all = make([]*podSelection, len(d.group.Pods))
		d.selections[p.settings] = all
	}
	if all[i] == nil {
		all[i] = d.ask(d.group.Pods[i], p)
	}
	return all[i]
}

func (d *decider) ask(pod Pod, p *Plan) *podSelection {
	in := selection.Input{
		Pod: pod.Pod, DefaultVolumes: p.settings.defaultVolumes, Policies: p.settings.merged,
		Rules: p.settings.rules, RulesInvalid: p.settings.rulesInvalid,
		Claims: d.claims, Volumes: d.group.Volumes, NodeAgent: pod.NodeAgent, NodeOS: pod.NodeOS,
		ClaimsExcluded: p.settings.claimsExcluded, AssumeClaimed: true,
	}
	c := &podSelection{decisions: selection.Decide(in), labels: map[string]bool{}}
	for i := range c.decisions {
		if c.decisions[i].CostsPod {
			c.blocking = &c.decisions[i]
			break
		}
	}
	for _, claim := range selection.ClaimsToLabel(in) {
		c.labels[claim.Name] = true
	}
	return c
}

// pv returns the PersistentVolume that the claim is bound to; nil if it is not bound, or if the volume does not exist.
func (d *decider) pv(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	if claim.Status.Phase != corev1.ClaimBound {
		return nil
	}
	return d.group.Volumes[claim.Spec.VolumeName]
}
