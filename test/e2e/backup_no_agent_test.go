// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// TestBackupWithoutAgent backs up on a node that has no agent.
func TestBackupWithoutAgent(t *testing.T) {
	reserveCluster(t)
	const failureLimit = 200 * time.Second // stranded.AbsentGrace, and the time until Velero's next poll
	ns := newNamespace(t, "agentless", 0)
	apply(t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	node := get[corev1.Pod](t, ns.name, "web").Spec.NodeName
	if err := patchDaemonSet(t,
		`[{"op":"add","path":"/spec/template/spec/nodeSelector","value":{"no-such-label":"true"}}]`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := patchDaemonSet(t, `[{"op":"remove","path":"/spec/template/spec/nodeSelector"}]`); err != nil {
			t.Error("cleaning up:", err)
		}
		waitAgents(t)
	})
	kubectl(t, "-n", velero.Namespace, "wait", "pod", "-l", "name=restic", "--for=delete", "--timeout=60s")

	veleroCLI(t, "backup", "create", "agentless", "--include-namespaces=agentless")
	wantPhase(t, waitBackup(t, "agentless", failureLimit), velerov1.BackupPhasePartiallyFailed)
	message := []string{
		"node " + node + " has no restic agent", "DaemonSet velero/restic", "kubectl -n velero get pods -l name=restic",
	}
	status := podVolumeBackups(t, "agentless")["web/cache"].Status
	if status.Phase != resticv1.PhaseFailed {
		t.Errorf("the PodVolumeBackup is %q, want Failed", status.Phase)
	}
	wantContains(t, "the PodVolumeBackup", status.Message, message...)
	details := veleroCLI(t, "backup", "describe", "agentless", "--details")
	wantContains(t, "velero backup describe --details", details,
		append(message, "pod agentless/web", "cache: Failed")...)
}
