// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/snapshotlist"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// requestSnapshotList asks for a list as a person without credentials does, and reads it from the log of the Job's pod.
func (ns *testNamespace) requestSnapshotList(word string) []snapshotlist.Snapshot {
	ns.t.Helper()
	ns.patchRepository(`{"requests":{"snapshots":"` + word + `"}}`)
	entry := ns.waitMaintenance(resticv1.OperationSnapshots, word)
	if entry.Result != resticv1.MaintenanceSucceeded {
		ns.t.Fatalf("the list ended with %+v", entry)
	}
	pods := get[corev1.PodList](ns.t, "-n", velero.Namespace, "pods", "-l", fmt.Sprintf("%s=%s,%s=snapshots,%s=%s",
		contract.LabelRepositoryUID, ns.repository().UID, contract.LabelOperation, batchv1.JobNameLabel, entry.Job))
	if len(pods.Items) != 1 {
		ns.t.Fatalf("Job %s has %d pods", entry.Job, len(pods.Items))
	}
	log := kubectl(ns.t, "-n", velero.Namespace, "logs", pods.Items[0].Name, "-c", contract.DaemonSetName)
	snapshots, err := snapshotlist.Read(strings.NewReader(log))
	if err != nil {
		ns.t.Fatalf("%v in the log:\n%s", err, log)
	}
	if strings.Contains(log, password(ns.t)) {
		ns.t.Error("the log has the password")
	}
	return snapshots
}

// TestListSnapshots lists a repository while a backup writes into it and a prune waits for it, and leaves no lock.
func TestListSnapshots(t *testing.T) {
	needsNode(t)
	t.Parallel()
	ns := newNamespace(t, "listed", 0)
	ns.backUpRandomFile("listed-1", 1000)
	ns.shell("web", "echo more >> /cache/file")
	wantCompleted(t, backUp(t, "listed-2", "--include-namespaces=listed"))
	want := map[string]string{}
	for _, backup := range []string{"listed-1", "listed-2"} {
		want[podVolumeBackups(t, backup)["web/cache"].Status.SnapshotID] = backup
	}

	ns.shell("web", "head -c 700000000 /dev/urandom > /cache/large")
	veleroCLI(t, "backup", "create", "listed-3", "--include-namespaces=listed")
	eventually(t, time.Minute, "restic reading", func() error {
		status := podVolumeBackups(t, "listed-3")["web/cache"].Status
		if status.Phase != resticv1.PhaseInProgress || status.Progress.BytesDone == 0 {
			return fmt.Errorf("the PodVolumeBackup is %q, %d bytes done", status.Phase, status.Progress.BytesDone)
		}
		return nil
	})
	ns.patchRepository(`{"requests":{"prune":"waits-for-the-backup"}}`)
	got := map[string]string{}
	for _, snapshot := range ns.requestSnapshotList("beside-a-backup") {
		if snapshot.Namespace != "listed" || snapshot.Pod != "web" || snapshot.Volume != "cache" || snapshot.Size == nil ||
			snapshot.Hostname != contract.Host {
			t.Errorf("listed is %+v", snapshot)
		}
		got[snapshot.ID] = snapshot.Backup
	}
	if third := podVolumeBackups(t, "listed-3")["web/cache"].Status; third.Phase == resticv1.PhaseInProgress {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("snapshots (-want +got):\n%s", diff)
		}
	} else {
		t.Errorf("the backup was over before the list: nothing is tried here: %+v", third)
	}
	wantCompleted(t, waitBackup(t, "listed-3", 3*time.Minute))
	if pruned := ns.waitMaintenance(resticv1.OperationPrune, "waits-for-the-backup"); pruned.Result !=
		resticv1.MaintenanceSucceeded {
		t.Errorf("the prune ended with %+v", pruned)
	}
	if list := ns.requestSnapshotList("again"); len(list) != 3 || list[0].Backup != "listed-3" {
		t.Errorf("listed are %+v", list)
	}
	if count := ns.lockCount(); count != 0 {
		t.Errorf("%d locks are left", count)
	}
}

// TestListSnapshotsOfMissingRepository asks for a list of a repository that does not exist any more.
func TestListSnapshotsOfMissingRepository(t *testing.T) {
	needsNode(t)
	t.Parallel()
	ns := newNamespace(t, "not-listed", 0)
	ns.backUpRandomFile("not-listed", 1000)
	if err := os.RemoveAll(filepath.Join(suite.store.Folder, "restic", ns.name)); err != nil {
		t.Fatal(err)
	}
	ns.patchRepository(`{"requests":{"snapshots":"of-nothing"}}`)
	entry := ns.waitMaintenance(resticv1.OperationSnapshots, "of-nothing")
	if entry.Result != resticv1.MaintenanceFailed || entry.Message == "" {
		t.Errorf("the list ended with %+v", entry)
	}
	t.Log(entry.Message)
	wantContains(t, "the Events", ns.repositoryEvents(), resticv1.ReasonMaintenanceFailed+": Snapshots")
}
