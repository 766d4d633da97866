// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

func agentLabels() client.ListOption {
	return client.MatchingLabels{contract.AgentLabelKey: contract.AgentLabelValue}
}

// patchDaemonSet changes the DaemonSet of the agents as an administrator does.
func patchDaemonSet(t *testing.T, patch string) error {
	t.Helper()
	_, err := tryKubectl(t, "-n", velero.Namespace, "patch", "ds/"+contract.DaemonSetName, "--type=json", "-p", patch)
	return err
}

// waitAgents waits until all agents run as the DaemonSet says.
func waitAgents(t *testing.T) {
	t.Helper()
	kubectl(t, "-n", velero.Namespace, "rollout", "status", "ds/"+contract.DaemonSetName, "--timeout=90s")
}

// setAgentFlags restarts the agents with more flags until the test ends.
func setAgentFlags(t *testing.T, flags ...string) {
	t.Helper()
	usual := clusterOf(t).agentFlags
	replace := func(flags []string) error {
		value, err := json.Marshal(slices.Concat([]string{}, flags))
		if err != nil {
			return err
		}
		return patchDaemonSet(t, fmt.Sprintf(
			`[{"op":"add","path":"/spec/template/spec/containers/0/args","value":%s}]`, value))
	}
	if err := replace(slices.Concat(usual, flags)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := replace(usual); err != nil {
			t.Error("cleaning up:", err)
		}
		waitAgents(t)
	})
	waitAgents(t)
}

// agentMetrics returns the metrics of all agents.
func agentMetrics(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	pods := list[corev1.PodList](t, inVelero(), agentLabels())
	for i := range pods.Items {
		all.WriteString(kubectl(t, "get", "--raw", fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:8085/proxy/metrics",
			velero.Namespace, pods.Items[i].Name)))
	}
	return all.String()
}
