// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package cluster

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// NodeField is the field of a pod by which the API server selects the pods of a node.
const NodeField = "spec.nodeName"

// AgentState is how our agent on a node is.
type AgentState int

// The states.
const (
	// AgentAbsent has no pod on the node.
	AgentAbsent AgentState = iota
	// AgentStarting has a pod on the node that is not ready.
	AgentStarting
	// AgentReady is at work.
	AgentReady
)

// Agent returns how our agent on the node is, and a sentence for people that says what is wrong and what to look at.
func (c *Cluster) Agent(node string) (AgentState, string, error) {
	pods, err := c.podsOn(node, map[string]string{contract.AgentLabelKey: contract.AgentLabelValue})
	if err != nil {
		return AgentAbsent, "", fmt.Errorf("listing the agents on node %s: %w", node, err)
	}
	look := fmt.Sprintf("look at: kubectl -n %s get pods -l %s=%s -o wide",
		c.Namespace, contract.AgentLabelKey, contract.AgentLabelValue)
	state, problem := AgentAbsent, fmt.Sprintf("node %s has no agent: it may have a taint that DaemonSet %s/%s does "+
		"not tolerate, or be left out by its node selector; %s", node, c.Namespace, contract.DaemonSetName, look)
	for i := range pods {
		if ready(&pods[i]) {
			return AgentReady, "", nil
		}
		state = AgentStarting
		problem = fmt.Sprintf("the agent on node %s, pod %s, is %s and not ready; %s",
			node, pods[i].Name, pods[i].Status.Phase, look)
	}
	return state, problem, nil
}

// NodeAgentOn says whether Velero's own node-agent runs on the node, as Velero itself finds out
// (velero v1.18.3, pkg/nodeagent/node_agent.go, IsRunningInNode).
func (c *Cluster) NodeAgentOn(node string) (bool, error) {
	pods, err := c.podsOn(node, map[string]string{"role": "node-agent"})
	if err != nil {
		return false, fmt.Errorf("listing Velero's node-agents on node %s: %w", node, err)
	}
	for i := range pods {
		if pods[i].Status.Phase == corev1.PodRunning {
			return true, nil
		}
	}
	return false, nil
}

// podsOn returns the pods of Velero's namespace on the node with these labels.
func (c *Cluster) podsOn(node string, labels map[string]string) ([]corev1.Pod, error) {
	if node == "" {
		return nil, nil
	}
	var list corev1.PodList
	err := c.Retry(func() error {
		return c.Client.List(c.Context, &list, client.InNamespace(c.Namespace),
			client.MatchingLabels(labels), client.MatchingFields{NodeField: node})
	})
	return list.Items, err
}

func ready(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil || pod.Status.Phase != corev1.PodRunning {
		return false
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}
