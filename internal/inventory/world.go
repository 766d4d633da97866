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

// space is one namespace.
type space struct {
	labels map[string]string
	pods   map[string]*corev1.Pod
	claims map[string]*corev1.PersistentVolumeClaim
	// users are the names of the pods that use a claim, by its name.
	users map[string]map[string]bool
}

// world is what the API server has of all that counts, and which claims must be looked at again. Its lock is the
// inventory's, which callers hold.
type world struct {
	namespace  string // Velero's
	spaces     map[string]*space
	volumes    map[string]*corev1.PersistentVolume
	systems    map[string]string                    // operating system of each node
	podsOn     map[string]map[client.ObjectKey]bool // pods that use claims, by node
	nodeAgents map[string]int                       // how many pods of Velero's node-agent run on each node
	// agentsChanged is called when Velero's node-agent runs nowhere any more, or somewhere again.
	agentsChanged func()
	// labeled are the namespaces with the label that leaves them out of backups. labelChanged is called when it is set
	// or taken off.
	labeled      map[string]bool
	labelChanged func(namespace string)
	dirty        map[client.ObjectKey]bool
	// wake is signaled when dirty has something; it holds one signal.
	wake chan struct{}
}

func newWorld(namespace string) *world {
	return &world{
		namespace: namespace, spaces: map[string]*space{}, volumes: map[string]*corev1.PersistentVolume{},
		systems: map[string]string{}, podsOn: map[string]map[client.ObjectKey]bool{}, nodeAgents: map[string]int{},
		agentsChanged: func() {}, labeled: map[string]bool{}, labelChanged: func(string) {},
		dirty: map[client.ObjectKey]bool{}, wake: make(chan struct{}, 1),
	}
}

func (w *world) space(namespace string) *space {
	s := w.spaces[namespace]
	if s == nil {
		s = &space{
			pods: map[string]*corev1.Pod{}, claims: map[string]*corev1.PersistentVolumeClaim{},
			users: map[string]map[string]bool{},
		}
		w.spaces[namespace] = s
	}
	return s
}

// tidy forgets a namespace of which nothing is left.
func (w *world) tidy(namespace string) {
	s := w.spaces[namespace]
	if s != nil && s.labels == nil && len(s.pods) == 0 && len(s.claims) == 0 {
		delete(w.spaces, namespace)
	}
}

// touch has claims looked at again.
func (w *world) touch(namespace string, claims ...string) {
	for _, name := range claims {
		w.dirty[client.ObjectKey{Namespace: namespace, Name: name}] = true
	}
	if len(w.dirty) > 0 {
		w.signal()
	}
}

// signal has somebody see whether there is something to do.
func (w *world) signal() {
	select {
	case w.wake <- struct{}{}:
	default: // there is a signal already
	}
}

// claim returns a claim, nil if it does not exist.
func (w *world) claim(key client.ObjectKey) *corev1.PersistentVolumeClaim {
	if s := w.spaces[key.Namespace]; s != nil {
		return s.claims[key.Name]
	}
	return nil
}

// touchSpace has all claims of a namespace looked at again.
func (w *world) touchSpace(namespace string) {
	if s := w.spaces[namespace]; s != nil {
		w.touch(namespace, slices.Collect(maps.Keys(s.claims))...)
	}
}

func (w *world) podChanged(before, after *corev1.Pod) {
	if before != nil {
		w.dropPod(before)
	}
	if after != nil {
		w.addPod(after)
	}
}

func (w *world) dropPod(pod *corev1.Pod) {
	s := w.space(pod.Namespace)
	delete(s.pods, pod.Name)
	names := claimsOf(pod)
	for _, name := range names {
		if delete(s.users[name], pod.Name); len(s.users[name]) == 0 {
			delete(s.users, name)
		}
	}
	key, node := client.ObjectKeyFromObject(pod), pod.Spec.NodeName
	if delete(w.podsOn[node], key); len(w.podsOn[node]) == 0 {
		delete(w.podsOn, node)
	}
	w.touch(pod.Namespace, names...)
	if w.isNodeAgent(pod) {
		w.countNodeAgent(node, -1)
	}
	w.tidy(pod.Namespace)
}

func (w *world) addPod(pod *corev1.Pod) {
	s := w.space(pod.Namespace)
	s.pods[pod.Name] = pod
	names := claimsOf(pod)
	for _, name := range names {
		if s.users[name] == nil {
			s.users[name] = map[string]bool{}
		}
		s.users[name][pod.Name] = true
	}
	if node := pod.Spec.NodeName; node != "" && len(names) > 0 {
		if w.podsOn[node] == nil {
			w.podsOn[node] = map[client.ObjectKey]bool{}
		}
		w.podsOn[node][client.ObjectKeyFromObject(pod)] = true
	}
	w.touch(pod.Namespace, names...)
	if w.isNodeAgent(pod) {
		w.countNodeAgent(pod.Spec.NodeName, 1)
	}
}

func (w *world) isNodeAgent(pod *corev1.Pod) bool {
	return pod.Namespace == w.namespace && pod.Labels["role"] == nodeAgentRole && pod.Status.Phase == corev1.PodRunning
}

func (w *world) countNodeAgent(node string, change int) {
	anywhere := len(w.nodeAgents) > 0
	if w.nodeAgents[node] += change; w.nodeAgents[node] == 0 {
		delete(w.nodeAgents, node)
	}
	if anywhere != (len(w.nodeAgents) > 0) {
		w.agentsChanged()
	}
	w.touchNode(node)
}

// touchNode has the claims of a node's pods looked at again.
func (w *world) touchNode(node string) {
	for key := range w.podsOn[node] {
		w.touch(key.Namespace, claimsOf(w.space(key.Namespace).pods[key.Name])...)
	}
}

func (w *world) claimChanged(before, after *corev1.PersistentVolumeClaim) {
	if after != nil {
		w.space(after.Namespace).claims[after.Name] = after
		w.touch(after.Namespace, after.Name)
		return
	}
	s := w.space(before.Namespace)
	delete(s.claims, before.Name)
	// It is gone itself; the other claims of its pods may depend on it, and it is where the way to them begins.
	w.touch(before.Namespace, before.Name)
	w.tidy(before.Namespace)
}

func (w *world) volumeChanged(before, after *corev1.PersistentVolume) {
	for _, pv := range []*corev1.PersistentVolume{before, after} {
		if pv == nil {
			continue
		}
		delete(w.volumes, pv.Name)
		if ref := pv.Spec.ClaimRef; ref != nil {
			w.touch(ref.Namespace, ref.Name)
		}
	}
	if after != nil {
		w.volumes[after.Name] = after
	}
}

func (w *world) namespaceChanged(before, after *metav1.PartialObjectMetadata) {
	if after == nil {
		if s := w.spaces[before.Name]; s != nil {
			s.labels = nil
		}
		w.tidy(before.Name)
		w.label(before.Name, false)
		return
	}
	w.space(after.Name).labels = after.Labels
	w.touchSpace(after.Name)
	w.label(after.Name, after.Labels[contract.LabelExcludeFromBackup] == "true")
}

// label notes whether a namespace has the label that leaves it out of backups.
func (w *world) label(namespace string, labeled bool) {
	if w.labeled[namespace] == labeled {
		return
	}
	if labeled {
		w.labeled[namespace] = true
	} else {
		delete(w.labeled, namespace)
	}
	w.labelChanged(namespace)
}

func (w *world) nodeChanged(before, after *metav1.PartialObjectMetadata) {
	if after == nil {
		delete(w.systems, before.Name)
		w.touchNode(before.Name)
		return
	}
	w.systems[after.Name] = after.Labels[corev1.LabelOSStable]
	w.touchNode(after.Name)
}

// group returns a claim with all that hangs together with it, and takes it all from the claims to look at. Gone are
// those names among them that no claim has.
func (w *world) group(first client.ObjectKey) (g coverage.Group, gone []string) {
	g = coverage.Group{Namespace: first.Namespace, Volumes: map[string]*corev1.PersistentVolume{}}
	delete(w.dirty, first)
	s := w.spaces[first.Namespace]
	if s == nil {
		return g, []string{first.Name}
	}
	g.Labels = s.labels
	claims, pods := map[string]bool{first.Name: true}, map[string]bool{}
	for queue := []string{first.Name}; len(queue) > 0; queue = queue[1:] {
		if !w.addClaim(&g, s, queue[0]) {
			gone = append(gone, queue[0])
		}
		for name := range s.users[queue[0]] {
			if pods[name] {
				continue
			}
			pods[name] = true
			g.Pods = append(g.Pods, w.pod(s.pods[name]))
			for _, claim := range claimsOf(s.pods[name]) {
				if !claims[claim] {
					claims[claim] = true
					queue = append(queue, claim)
				}
			}
		}
	}
	// What is told must not depend on the order of a map.
	slices.SortFunc(g.Pods, func(a, b coverage.Pod) int { return strings.Compare(a.Name, b.Name) })
	return g, gone
}

// addClaim says whether there is a claim of that name.
func (w *world) addClaim(g *coverage.Group, s *space, name string) bool {
	delete(w.dirty, client.ObjectKey{Namespace: g.Namespace, Name: name})
	claim := s.claims[name]
	if claim != nil {
		w.include(g, claim)
	}
	return claim != nil
}

// include adds a claim to a group, with what it is bound to.
func (w *world) include(g *coverage.Group, claim *corev1.PersistentVolumeClaim) {
	g.Claims = append(g.Claims, claim)
	if pv := w.volumes[claim.Spec.VolumeName]; pv != nil {
		g.Volumes[pv.Name] = pv
	}
}

func (w *world) pod(pod *corev1.Pod) coverage.Pod {
	return coverage.Pod{
		Pod: pod, NodeOS: w.systems[pod.Spec.NodeName], NodeAgent: w.nodeAgents[pod.Spec.NodeName] > 0,
	}
}

// namespaceLabels are the labels of namespaces that count.
func namespaceLabels() []string { return []string{contract.LabelExcludeFromBackup} }
