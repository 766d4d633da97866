// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package stranded decides when an operation on a volume has failed because no agent can carry it out. The leader among
// the agents fails such operations. The plugin does so only while no agent leads, with the same functions and times.
// The package is pure.
package stranded

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

const (
	// AbsentGrace is how long an operation waits on a node that has no pod of the agent. The DaemonSet controller
	// creates the pod a few seconds after a node joins or after a rolling update has deleted the old pod, so a node
	// without a pod for two minutes is one that the DaemonSet excludes.
	AbsentGrace = 2 * time.Minute
	// StartingGrace is how long an operation waits for an agent whose pod is not ready. A new node, and each node in a
	// rolling update to a new image, first pulls the image. The kubelet repeats a failed pull and restarts a crashed
	// container after a pause that grows to five minutes. Ten minutes allow the longest pause and a slow pull, and end
	// the operations of an agent that crashes in a loop.
	StartingGrace = 10 * time.Minute
	// PodGrace is how long a PodVolumeRestore waits for its pod. Velero creates the pod after the plugin has returned,
	// and runs the actions of other plugins for the pod before that.
	PodGrace = 10 * time.Minute
)

// Verdict is the result for one operation. The zero Verdict means that an agent can carry it out.
type Verdict struct {
	// Failed means that the operation must fail, with Message as the reason.
	Failed bool
	// Message is what the operation waits for, or why it failed.
	Message string
}

// Agent is the state of the agent on one node at one time.
type Agent struct {
	Node string
	// Pod is the name of the agent's pod and Phase is its phase; empty without a pod.
	Pod   string
	Phase corev1.PodPhase
	Ready bool
	// NotReadySince and AbsentSince are the first times at which the agent was seen not ready and without a pod,
	// without an interruption until now. They are zero while the agent is ready, or has a pod.
	NotReadySince, AbsentSince time.Time
}

// NewAgent returns the state of the agent on a node out of the DaemonSet's pods. Before is the state that was seen
// last; for the zero Agent the times start now.
func NewAgent(node string, pods []corev1.Pod, before Agent, now time.Time) Agent {
	agent := Agent{Node: node}
	for i := range pods {
		if pods[i].Spec.NodeName != node || agent.Ready {
			continue
		}
		agent.Pod, agent.Phase, agent.Ready = pods[i].Name, pods[i].Status.Phase, ready(&pods[i])
	}
	if !agent.Ready {
		agent.NotReadySince = continued(before.NotReadySince, now)
	}
	if agent.Pod == "" {
		agent.AbsentSince = continued(before.AbsentSince, now)
	}
	return agent
}

// WaitingSince returns the state of an agent that has been absent since then, as far as the caller knows: the argument
// before of NewAgent for a caller that has not watched the agent.
func WaitingSince(since time.Time) Agent { return Agent{NotReadySince: since, AbsentSince: since} }

// Verdict returns the result for operations on the agent's node. Namespace is the namespace of the DaemonSet.
func (a Agent) Verdict(namespace string, now time.Time) Verdict {
	const absent = "node %s has no restic agent: compare the node's taints and labels with the tolerations and the " +
		"node " +
		"selector of DaemonSet %s/%s, and list the agents with: kubectl -n %s get pods -l %s=%s -o wide"
	const starting = "the restic agent on node %s is not ready (pod %s, phase %s); to see why: " +
		"kubectl -n %s describe pod %s"
	switch {
	case a.Ready:
		return Verdict{}
	case a.Pod == "":
		return Verdict{
			Failed: now.Sub(a.AbsentSince) >= AbsentGrace,
			Message: fmt.Sprintf(absent, a.Node, namespace, contract.DaemonSetName, namespace, contract.AgentLabelKey,
				contract.AgentLabelValue),
		}
	}
	return Verdict{
		Failed:  now.Sub(a.NotReadySince) >= StartingGrace,
		Message: fmt.Sprintf(starting, a.Node, a.Pod, a.Phase, namespace, a.Pod),
	}
}

// RestoredPod returns the result for a PodVolumeRestore as far as it depends on the pod, which is nil if it does not
// exist. It returns the zero Verdict for the pod of this restore once that is scheduled: then the agent of its node
// decides. The times start with since or with the creation of the PodVolumeRestore, whichever is later.
func RestoredPod(restore *resticv1.PodVolumeRestore, pod *corev1.Pod, since, now time.Time) Verdict {
	if created := restore.CreationTimestamp.Time; created.After(since) {
		since = created
	}
	const missing = "pod %s was not created within %s, or was deleted: see why in `velero restore logs`"
	const foreign = "pod %s does not belong to this restore: it has no init container %s with this restore's UID"
	name := restore.Spec.Pod.Namespace + "/" + restore.Spec.Pod.Name
	switch {
	case pod == nil && now.Sub(since) >= PodGrace:
		return Verdict{Failed: true, Message: fmt.Sprintf(missing, name, PodGrace)}
	case pod == nil:
		return Verdict{Message: fmt.Sprintf("pod %s does not exist yet", name)}
	case pod.Spec.NodeName == "":
		return Verdict{Message: unscheduled(pod)}
	case !WaitsForRestore(pod, restore.Spec.RestoreUID):
		return Verdict{
			Failed:  now.Sub(since) >= AbsentGrace,
			Message: fmt.Sprintf(foreign, name, contract.RestoreContainer),
		}
	}
	return Verdict{}
}

// WaitsForRestore returns whether a pod has the init container that waits for the volumes of the restore with this UID.
func WaitsForRestore(pod *corev1.Pod, restoreUID string) bool {
	return slices.ContainsFunc(pod.Spec.InitContainers, func(c corev1.Container) bool {
		return c.Name == contract.RestoreContainer && slices.Contains(c.Args, restoreUID)
	})
}

// unscheduled returns why a pod has no node yet.
func unscheduled(pod *corev1.Pod) string {
	reason := ""
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled {
			reason = condition.Message
		}
	}
	return strings.TrimSuffix("the pod is not scheduled: "+reason, ": ")
}

func ready(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp == nil && slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func continued(before, now time.Time) time.Time {
	if before.IsZero() {
		return now
	}
	return before
}
