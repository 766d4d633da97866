// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
)

// nodeAgentRole is the value of label role on the pods of Velero's node-agent
// (velero v1.18.3, pkg/nodeagent/node_agent.go).
const nodeAgentRole = "node-agent"

// namespaceState is what is needed of one namespace.
type namespaceState struct {
	labels map[string]string
	pods   map[string]*corev1.Pod
	claims map[string]*corev1.PersistentVolumeClaim
	// users maps the names of claims to the names of the pods that use them.
	users map[string]map[string]bool
}

// clusterState is what is needed of the cluster's objects, and which claims must be reevaluated. Callers hold the
// inventory's lock.
type clusterState struct {
	namespace  string // Velero's
	namespaces map[string]*namespaceState
	volumes    map[string]*corev1.PersistentVolume
	nodeOS     map[string]string                    // operating system of each node
	podsOn     map[string]map[client.ObjectKey]bool // pods that use claims, by node
	nodeAgents map[string]int                       // how many pods of Velero's node-agent run on each node
	// agentsChanged is called when the first pod of Velero's node-agent starts, and when the last one stops.
	agentsChanged func()
	// labeled are the namespaces with the label that excludes them from backups. labelChanged is called when it is set
	// or removed.
	labeled      map[string]bool
	labelChanged func(namespace string)
	dirty        map[client.ObjectKey]bool
	// woken receives a value when dirty is not empty. Its buffer of one is enough.
	woken chan struct{}
}

func newClusterState(namespace string) *clusterState {
	return &clusterState{
		namespace: namespace, namespaces: map[string]*namespaceState{}, volumes: map[string]*corev1.PersistentVolume{},
		nodeOS: map[string]string{}, podsOn: map[string]map[client.ObjectKey]bool{}, nodeAgents: map[string]int{},
		agentsChanged: func() {}, labeled: map[string]bool{}, labelChanged: func(string) {},
		dirty: map[client.ObjectKey]bool{}, woken: make(chan struct{}, 1),
	}
}

func (c *clusterState) namespaceState(namespace string) *namespaceState {
	n := c.namespaces[namespace]
	if n == nil {
		n = &namespaceState{
			pods: map[string]*corev1.Pod{}, claims: map[string]*corev1.PersistentVolumeClaim{},
			users: map[string]map[string]bool{},
		}
		c.namespaces[namespace] = n
	}
	return n
}

// removeIfEmpty removes a namespace without any objects.
func (c *clusterState) removeIfEmpty(namespace string) {
	n := c.namespaces[namespace]
	if n != nil && n.labels == nil && len(n.pods) == 0 && len(n.claims) == 0 {
		delete(c.namespaces, namespace)
	}
}

// markDirty marks claims for reevaluation.
func (c *clusterState) markDirty(namespace string, claims ...string) {
	for _, name := range claims {
		c.dirty[client.ObjectKey{Namespace: namespace, Name: name}] = true
	}
	if len(c.dirty) > 0 {
		c.notify()
	}
}

// notify wakes the goroutine that evaluates claims.
func (c *clusterState) notify() {
	select {
	case c.woken <- struct{}{}:
	default: // it is already woken
	}
}

// claim returns a claim; nil if it does not exist.
func (c *clusterState) claim(key client.ObjectKey) *corev1.PersistentVolumeClaim {
	if n := c.namespaces[key.Namespace]; n != nil {
		return n.claims[key.Name]
	}
	return nil
}

// markNamespaceDirty marks all claims of a namespace.
func (c *clusterState) markNamespaceDirty(namespace string) {
	if n := c.namespaces[namespace]; n != nil {
		c.markDirty(namespace, slices.Collect(maps.Keys(n.claims))...)
	}
}

func (c *clusterState) podChanged(before, after *corev1.Pod) {
	if before != nil {
		c.dropPod(before)
	}
	if after != nil {
		c.addPod(after)
	}
}

func (c *clusterState) dropPod(pod *corev1.Pod) {
	n := c.namespaceState(pod.Namespace)
	delete(n.pods, pod.Name)
	names := claimsOf(pod)
	for _, name := range names {
		delete(n.users[name], pod.Name)
		if len(n.users[name]) == 0 {
			delete(n.users, name)
		}
	}
	key, node := client.ObjectKeyFromObject(pod), pod.Spec.NodeName
	delete(c.podsOn[node], key)
	if len(c.podsOn[node]) == 0 {
		delete(c.podsOn, node)
	}
	c.markDirty(pod.Namespace, names...)
	if c.isNodeAgent(pod) {
		c.countNodeAgent(node, -1)
	}
	c.removeIfEmpty(pod.Namespace)
}

func (c *clusterState) addPod(pod *corev1.Pod) {
	n := c.namespaceState(pod.Namespace)
	n.pods[pod.Name] = pod
	names := claimsOf(pod)
	for _, name := range names {
		if n.users[name] == nil {
			n.users[name] = map[string]bool{}
		}
		n.users[name][pod.Name] = true
	}
	if node := pod.Spec.NodeName; node != "" && len(names) > 0 {
		if c.podsOn[node] == nil {
			c.podsOn[node] = map[client.ObjectKey]bool{}
		}
		c.podsOn[node][client.ObjectKeyFromObject(pod)] = true
	}
	c.markDirty(pod.Namespace, names...)
	if c.isNodeAgent(pod) {
		c.countNodeAgent(pod.Spec.NodeName, 1)
	}
}

func (c *clusterState) isNodeAgent(pod *corev1.Pod) bool {
	return pod.Namespace == c.namespace && pod.Labels["role"] == nodeAgentRole && pod.Status.Phase == corev1.PodRunning
}

func (c *clusterState) countNodeAgent(node string, change int) {
	anywhere := len(c.nodeAgents) > 0
	if c.nodeAgents[node] += change; c.nodeAgents[node] == 0 {
		delete(c.nodeAgents, node)
	}
	if anywhere != (len(c.nodeAgents) > 0) {
		c.agentsChanged()
	}
	c.markNodeDirty(node)
}

// markNodeDirty marks the claims of a node's pods.
func (c *clusterState) markNodeDirty(node string) {
	for key := range c.podsOn[node] {
		c.markDirty(key.Namespace, claimsOf(c.namespaceState(key.Namespace).pods[key.Name])...)
	}
}

func (c *clusterState) claimChanged(before, after *corev1.PersistentVolumeClaim) {
	if after != nil {
		c.namespaceState(after.Namespace).claims[after.Name] = after
		c.markDirty(after.Namespace, after.Name)
		return
	}
	n := c.namespaceState(before.Namespace)
	delete(n.claims, before.Name)
	// The evaluation of the deleted name finds the other claims of its pods, which may depend on it.
	c.markDirty(before.Namespace, before.Name)
	c.removeIfEmpty(before.Namespace)
}

func (c *clusterState) volumeChanged(before, after *corev1.PersistentVolume) {
	for _, pv := range []*corev1.PersistentVolume{before, after} {
		if pv == nil {
			continue
		}
		delete(c.volumes, pv.Name)
		if ref := pv.Spec.ClaimRef; ref != nil {
			c.markDirty(ref.Namespace, ref.Name)
		}
	}
	if after != nil {
		c.volumes[after.Name] = after
	}
}

func (c *clusterState) namespaceChanged(before, after *metav1.PartialObjectMetadata) {
	if after == nil {
		if n := c.namespaces[before.Name]; n != nil {
			n.labels = nil
		}
		c.removeIfEmpty(before.Name)
		c.label(before.Name, false)
		return
	}
	c.namespaceState(after.Name).labels = after.Labels
	c.markNamespaceDirty(after.Name)
	c.label(after.Name, after.Labels[contract.LabelExcludeFromBackup] == "true")
}

// label records whether a namespace has the label that excludes it from backups.
func (c *clusterState) label(namespace string, labeled bool) {
	if c.labeled[namespace] == labeled {
		return
	}
	if labeled {
		c.labeled[namespace] = true
	} else {
		delete(c.labeled, namespace)
	}
	c.labelChanged(namespace)
}

func (c *clusterState) nodeChanged(before, after *metav1.PartialObjectMetadata) {
	if after == nil {
		delete(c.nodeOS, before.Name)
		c.markNodeDirty(before.Name)
		return
	}
	c.nodeOS[after.Name] = after.Labels[corev1.LabelOSStable]
	c.markNodeDirty(after.Name)
}

// group returns the group of a claim, and removes its claims from the dirty ones. gone are names in the group for which
// no claim exists.
func (c *clusterState) group(first client.ObjectKey) (g coverage.Group, gone []string) {
	g = coverage.Group{Namespace: first.Namespace, Volumes: map[string]*corev1.PersistentVolume{}}
	delete(c.dirty, first)
	n := c.namespaces[first.Namespace]
	if n == nil {
		return g, []string{first.Name}
	}
	g.Labels = n.labels
	claims, pods := map[string]bool{first.Name: true}, map[string]bool{}
	for queue := []string{first.Name}; len(queue) > 0; queue = queue[1:] {
		if !c.addClaim(&g, n, queue[0]) {
			gone = append(gone, queue[0])
		}
		for name := range n.users[queue[0]] {
			if pods[name] {
				continue
			}
			pods[name] = true
			g.Pods = append(g.Pods, c.pod(n.pods[name]))
			for _, claim := range claimsOf(n.pods[name]) {
				if !claims[claim] {
					claims[claim] = true
					queue = append(queue, claim)
				}
			}
		}
	}
	// Messages must not depend on the order of a map.
	slices.SortFunc(g.Pods, func(a, b coverage.Pod) int { return strings.Compare(a.Name, b.Name) })
	return g, gone
}

// addClaim adds the claim of that name to the group. It returns false if there is none.
func (c *clusterState) addClaim(g *coverage.Group, n *namespaceState, name string) bool {
	delete(c.dirty, client.ObjectKey{Namespace: g.Namespace, Name: name})
	claim := n.claims[name]
	if claim != nil {
		c.include(g, claim)
	}
	return claim != nil
}

// include adds a claim to a group, with its PersistentVolume.
func (c *clusterState) include(g *coverage.Group, claim *corev1.PersistentVolumeClaim) {
	g.Claims = append(g.Claims, claim)
	if pv := c.volumes[claim.Spec.VolumeName]; pv != nil {
		g.Volumes[pv.Name] = pv
	}
}

func (c *clusterState) pod(pod *corev1.Pod) coverage.Pod {
	return coverage.Pod{
		Pod: pod, NodeOS: c.nodeOS[pod.Spec.NodeName], NodeAgent: c.nodeAgents[pod.Spec.NodeName] > 0,
	}
}

// namespaceLabels are the labels of namespaces that are needed.
func namespaceLabels() []string { return []string{contract.LabelExcludeFromBackup} }
