// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// TestAgentKilledDuringBackup kills the agent while restic reads a volume. It is not parallel: it is everybody's agent.
func TestAgentKilledDuringBackup(t *testing.T) {
	needsNode(t)
	ns := newNamespace(t, "killed", 1)
	apply(t, ns.claim("data"), ns.pod("web", "data", claimVolume("data")))
	ns.waitReady("web")
	ns.fillVolume("web", "/data")
	ns.shell("web", "head -c 500000000 /dev/urandom > /data/a-table")

	veleroCLI(t, "backup", "create", "killed", "--include-namespaces=killed")
	eventually(t, time.Minute, "restic reading", func() error {
		status := podVolumeBackups(t, "killed")["web/data"].Status
		if status.Phase != resticv1.PhaseInProgress || status.Progress.BytesDone == 0 {
			return fmt.Errorf("the PodVolumeBackup is %q, %d bytes done", status.Phase, status.Progress.BytesDone)
		}
		return nil
	})
	kubectl(t, "-n", velero.Namespace, "delete", "pod", "-l", "name=restic", "--grace-period=0", "--force")
	interrupted := podVolumeBackups(t, "killed")["web/data"].Status
	if interrupted.Phase != resticv1.PhaseInProgress {
		t.Fatalf("the PodVolumeBackup was %q before the agent was gone: nothing was interrupted", interrupted.Phase)
	}
	waitAgents(t)
	backup := waitBackup(t, "killed", 3*time.Minute)
	status := podVolumeBackups(t, "killed")["web/data"].Status
	t.Logf("after %d attempts the PodVolumeBackup is %s: %s", status.Attempts, status.Phase, status.Message)
	var made []string
	for _, snapshot := range snapshots(t, ns.name) {
		if snapshot.isOf("killed") {
			made = append(made, snapshot.ID)
		}
	}
	switch {
	case backup.Status.Phase == velerov1.BackupPhaseCompleted:
		if len(made) != 1 || made[0] != status.SnapshotID {
			t.Errorf("the backup is Completed with snapshots %v, want its own alone: %q", made, status.SnapshotID)
		}
	case backup.Status.Phase != velerov1.BackupPhasePartiallyFailed || status.Message == "":
		t.Errorf("the backup is %s (%q), want it Completed, or PartiallyFailed with a reason",
			backup.Status.Phase, status.Message)
	case len(made) > 0:
		t.Errorf("the backup has failed and left snapshots %v", made)
	}
	if out, err := runRestic(t, ns.name, "check", "--read-data"); err != nil {
		t.Errorf("the repository is not whole: %v: %s", err, out)
	}
	deleteBackup(t, "killed")
	wantSnapshots(t, ns.name)
}
