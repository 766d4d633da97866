// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package cluster

import (
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// NodeField is the field selector for the pods of one node.
const NodeField = "spec.nodeName"

// AgentPods returns the pods of DaemonSet restic on a node.
func (c *Cluster) AgentPods(node string) ([]corev1.Pod, error) {
	pods, err := c.podsOn(node, map[string]string{contract.AgentLabelKey: contract.AgentLabelValue})
	if err != nil {
		return nil, fmt.Errorf("listing the agents on node %s: %w", node, err)
	}
	return pods, nil
}

// LastLeader returns when an agent last renewed the leader's Lease; the zero time if none ever did.
func (c *Cluster) LastLeader() (time.Time, error) {
	var lease coordinationv1.Lease
	err := c.Get(c.Namespace, contract.LeaderLeaseName, &lease)
	if err != nil && !apierrors.IsNotFound(err) {
		return time.Time{}, fmt.Errorf("reading Lease %s/%s: %w", c.Namespace, contract.LeaderLeaseName, err)
	}
	if lease.Spec.RenewTime == nil {
		return time.Time{}, nil
	}
	return lease.Spec.RenewTime.Time, nil
}

// NodeAgentOn returns whether Velero's own node-agent runs on the node, by the same test as Velero
// (velero v1.18.3, pkg/nodeagent/node_agent.go, IsRunningInNode).
func (c *Cluster) NodeAgentOn(node string) (bool, error) {
	pods, err := c.podsOn(node, map[string]string{"role": "node-agent"})
	if err != nil {
		return false, fmt.Errorf("listing Velero's node-agents on node %s: %w", node, err)
	}
	return slices.ContainsFunc(pods, func(pod corev1.Pod) bool { return pod.Status.Phase == corev1.PodRunning }), nil
}

// podsOn returns the pods in Velero's namespace that run on the node and have these labels.
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
