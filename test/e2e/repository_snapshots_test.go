// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/snapshotlist"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// requestSnapshotList requests a list as a person without credentials does, and reads it from the log of the Job's pod.
func (ns *testNamespace) requestSnapshotList(requestID string) []snapshotlist.Snapshot {
	ns.t.Helper()
	ns.patchRepository(`{"requests":{"snapshots":"` + requestID + `"}}`)
	entry := ns.waitMaintenance(resticv1.OperationSnapshots, requestID)
	if entry.Result != resticv1.MaintenanceSucceeded {
		ns.t.Fatalf("the list ended with %+v, want it to succeed", entry)
	}
	pods := list[corev1.PodList](ns.t, inVelero(), client.MatchingLabels{
		contract.LabelRepositoryUID: string(ns.repository().UID), contract.LabelOperation: "snapshots",
		batchv1.JobNameLabel: entry.Job,
	})
	if len(pods.Items) != 1 {
		ns.t.Fatalf("Job %s has %d pods, want 1", entry.Job, len(pods.Items))
	}
	log := kubectl(ns.t, "-n", velero.Namespace, "logs", pods.Items[0].Name, "-c", contract.DaemonSetName)
	snapshots, err := snapshotlist.Read(strings.NewReader(log))
	if err != nil {
		ns.t.Fatalf("%v in the log:\n%s", err, log)
	}
	if strings.Contains(log, password(ns.t)) {
		ns.t.Error("the log contains the password")
	}
	return snapshots
}

// TestListSnapshots lists a repository while a backup writes into it and a prune waits for the backup.
func TestListSnapshots(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	ns := newNamespace(t, "listed", 0)
	directory := ns.createSlowPod()
	writeRandomFile(t, filepath.Join(directory, "file"), 1000)
	wantCompleted(t, backUp(t, "listed-1", "--include-namespaces=listed"))
	writeRandomFile(t, filepath.Join(directory, "file"), 2000)
	wantCompleted(t, backUp(t, "listed-2", "--include-namespaces=listed"))
	want := map[string]string{}
	for _, backup := range []string{"listed-1", "listed-2"} {
		want[podVolumeBackups(t, backup)["web/data"].Status.SnapshotID] = backup
	}

	writeRandomFile(t, filepath.Join(directory, "large"), 70_000_000)
	veleroCLI(t, "backup", "create", "listed-3", "--include-namespaces=listed")
	waitReading(t, "listed-3", "web/data")
	ns.patchRepository(`{"requests":{"prune":"waits-for-the-backup"}}`)
	got := map[string]string{}
	for _, snapshot := range ns.requestSnapshotList("beside-a-backup") {
		if snapshot.Namespace != "listed" || snapshot.Pod != "web" || snapshot.Volume != "data" || snapshot.Size == nil ||
			snapshot.Hostname != contract.Host {
			t.Errorf("the list has %+v", snapshot)
		}
		got[snapshot.ID] = snapshot.Backup
	}
	if third := podVolumeBackups(t, "listed-3")["web/data"].Status; third.Phase == resticv1.PhaseInProgress {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("snapshots (-want +got):\n%s", diff)
		}
	} else {
		t.Errorf("the backup ended before the list: the test cannot show that they run side by side: %+v", third)
	}
	wantCompleted(t, waitBackup(t, "listed-3", 3*time.Minute))
	ns.wantMaintained(resticv1.OperationPrune, "waits-for-the-backup")
	if found := ns.requestSnapshotList("again"); len(found) != 3 || found[0].Backup != "listed-3" {
		t.Errorf("the list is %+v, want 3 snapshots, that of listed-3 first", found)
	}
	if locks := lockFiles(t, ns.name); len(locks) > 0 {
		t.Errorf("locks remain: %v", locks)
	}
}

// TestListSnapshotsOfMissingRepository requests a list of a repository that no longer exists.
func TestListSnapshotsOfMissingRepository(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	ns := newNamespace(t, "not-listed", 0)
	ns.backUpRandomFile("not-listed", 1000)
	if err := os.RemoveAll(repositoryFiles(t, ns.name)); err != nil {
		t.Fatal(err)
	}
	ns.patchRepository(`{"requests":{"snapshots":"of-nothing"}}`)
	entry := ns.waitMaintenance(resticv1.OperationSnapshots, "of-nothing")
	if entry.Result != resticv1.MaintenanceFailed || entry.Message == "" {
		t.Errorf("the list ended with %+v, want it to fail with a message", entry)
	}
	t.Log(entry.Message)
	wantContains(t, "the Events", ns.repositoryEvents(), resticv1.ReasonMaintenanceFailed+": Snapshots")
}
