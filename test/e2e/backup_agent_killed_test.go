// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"path/filepath"
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// TestAgentKilledDuringBackup kills the agent while restic reads a volume.
func TestAgentKilledDuringBackup(t *testing.T) {
	needsNode(t)
	reserveCluster(t)
	ns := newNamespace(t, "killed", 0)
	directory := ns.createSlowPod()
	writeRandomFile(t, filepath.Join(directory, "a-table"), 30_000_000)
	writeRandomFile(t, filepath.Join(directory, "file"), 1000)

	veleroCLI(t, "backup", "create", "killed", "--include-namespaces=killed")
	waitReading(t, "killed", "web/data")
	kubectl(t, "-n", velero.Namespace, "delete", "pod", "-l", "name=restic", "--grace-period=0", "--force")
	interrupted := podVolumeBackups(t, "killed")["web/data"].Status
	if interrupted.Phase != resticv1.PhaseInProgress {
		t.Fatalf("the PodVolumeBackup was %q before the agent was killed: nothing was interrupted", interrupted.Phase)
	}
	waitAgents(t)
	backup := waitBackup(t, "killed", 3*time.Minute)
	status := podVolumeBackups(t, "killed")["web/data"].Status
	t.Logf("after %d attempts the PodVolumeBackup is %s: %s", status.Attempts, status.Phase, status.Message)
	var created []string
	for _, snapshot := range snapshots(t, ns.name) {
		if snapshot.isOf("killed") {
			created = append(created, snapshot.ID)
		}
	}
	switch {
	case backup.Status.Phase == velerov1.BackupPhaseCompleted:
		if len(created) != 1 || created[0] != status.SnapshotID {
			t.Errorf("the backup is Completed with snapshots %v, want only %q", created, status.SnapshotID)
		}
	case backup.Status.Phase != velerov1.BackupPhasePartiallyFailed || status.Message == "":
		t.Errorf("the backup is %s (%q), want Completed, or PartiallyFailed with a reason",
			backup.Status.Phase, status.Message)
	case len(created) > 0:
		t.Errorf("the failed backup has left snapshots %v", created)
	}
	if out, err := runRestic(t, ns.name, "check", "--read-data"); err != nil {
		t.Errorf("the repository is damaged: %v: %s", err, out)
	}
	deleteBackup(t, "killed")
	wantSnapshots(t, ns.name)
}
