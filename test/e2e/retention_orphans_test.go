// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// syncEvery has Velero look for backups in the bucket more often than once a minute.
const syncEvery = `{"spec":{"backupSyncPeriod":"5s"}}`

// TestOrphanedSnapshots loses two backups without a deletion by Velero: one whose files remain in the bucket, and one
// whose files are gone. Only the snapshot of the latter is an orphan.
func TestOrphanedSnapshots(t *testing.T) {
	needsNode(t)
	reserveCluster(t)
	ns := newNamespace(t, "orphan", 0)
	apply(t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", "echo one > /cache/file")
	wantCompleted(t, backUp(t, "orphan-lost", "--include-namespaces=orphan"))
	wantCompleted(t, backUp(t, "orphan-hidden", "--include-namespaces=orphan"))
	lost := wantBackedUp(t, "orphan-lost", "web/cache")["web/cache"].Status.SnapshotID
	hidden := wantBackedUp(t, "orphan-hidden", "web/cache")["web/cache"].Status.SnapshotID
	foreign := ns.createForeignSnapshots()
	setAgentFlags(t, "--orphan-sweep=5s", "--orphan-grace=5s")
	patchDefaultLocation(t, syncEvery)
	t.Cleanup(func() { patchDefaultLocation(t, `{"spec":{"backupSyncPeriod":null}}`) })

	if err := os.RemoveAll(filepath.Join(clusterOf(t).store.Folder, "backups", "orphan-lost")); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "-n", velero.Namespace, "delete", "backups.velero.io", "orphan-lost", "orphan-hidden")
	eventually(t, time.Minute, "report of the orphans", func() error {
		if got := ns.repository().Status; got.OrphanCount == 0 {
			return fmt.Errorf("the status is %+v", got)
		}
		return nil
	})
	wantContains(t, "kubectl get events", ns.repositoryEvents(), "OrphansFound",
		"of backups that no longer exist", "SharedRepository",
		"another-cluster")
	eventually(t, 100*time.Second, "removal of the lost backup's snapshot", func() error {
		for _, s := range snapshots(t, ns.name) {
			if s.ID == lost {
				return fmt.Errorf("the snapshot still exists: %+v", ns.repository().Status)
			}
		}
		return nil
	})
	if _, err := tryGet[velerov1.Backup](t, velero.Namespace, "orphan-hidden"); err != nil {
		t.Errorf("Velero has not synchronized the hidden backup: %v", err)
	}
	wantSnapshots(t, ns.name, append(foreign, hidden)...)
	deleteBackup(t, "orphan-hidden")
	wantSnapshots(t, ns.name, foreign...)
}

// createForeignSnapshots creates two snapshots in the namespace's repository, as a person does and as another cluster
// does, and returns their IDs.
func (ns *testNamespace) createForeignSnapshots() []string {
	ns.t.Helper()
	var ids []string
	for _, tags := range [][]string{
		{"--tag=by-hand"},
		{
			"--host=velero", "--tag=backup=theirs", "--tag=backup-uid=u", "--tag=pod-volume-backup=theirs-1",
			"--tag=cluster=another-cluster", "--tag=velero-namespace=velero",
		},
	} {
		args := append([]string{"backup", "--no-cache", "--json", "--stdin"}, tags...)
		cmd, stderr := resticCommand(ns.t, repositoryPath(ns.t, ns.name), password(ns.t), args...)
		cmd.Stdin = strings.NewReader("content")
		out, err := cmd.Output()
		if err != nil {
			ns.t.Fatalf("%v: %s", err, stderr)
		}
		decoder := json.NewDecoder(bytes.NewReader(out))
		var last struct {
			ID string `json:"snapshot_id"`
		}
		for decoder.More() {
			if err := decoder.Decode(&last); err != nil {
				ns.t.Fatal(err)
			}
		}
		ids = append(ids, last.ID)
	}
	return ids
}

// patchDefaultLocation changes the default storage location.
func patchDefaultLocation(t *testing.T, patch string) {
	t.Helper()
	kubectl(t, "-n", velero.Namespace, "patch", "backupstoragelocations.velero.io", "default", "--type=merge", "-p", patch)
}
