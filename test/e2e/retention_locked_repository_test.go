// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"errors"
	"io"
	"testing"
	"time"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// TestDeleteBackupOfLockedRepository deletes a backup while another restic holds a lock of the repository.
func TestDeleteBackupOfLockedRepository(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	ns := newNamespace(t, "held", 0)
	apply(t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", "echo one > /cache/file")
	wantCompleted(t, backUp(t, "held", "--include-namespaces=held"))
	taken := wantBackedUp(t, "held", "web/cache")["web/cache"]

	// restic locks the repository before it reads, and keeps the lock while it waits for input.
	cmd, _ := resticCommand(t, repositoryPath(t, ns.name), password(t), "backup", "--stdin", "--no-cache", "--tag=by-hand")
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "lock of another restic", func() error {
		if locks := lockFiles(t, ns.name); len(locks) == 0 {
			return errors.New("there is no lock")
		}
		return nil
	})
	veleroCLI(t, "backup", "delete", "held", "--confirm")
	eventually(t, time.Minute, "request to forget", func() error {
		object, err := tryGet[resticv1.PodVolumeBackup](t, velero.Namespace, taken.Name)
		if err == nil && !object.Spec.Forget {
			err = errors.New("spec.forget is not set")
		}
		return err
	})
	time.Sleep(8 * time.Second) // an agent that ignores the lock would forget the snapshot by then
	wantSnapshots(t, ns.name, taken.Status.SnapshotID)

	if _, err := io.WriteString(input, "content"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(input.Close(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 90*time.Second, "deletion of the PodVolumeBackup", func() error {
		return checkGone[resticv1.PodVolumeBackup](t, velero.Namespace, taken.Name)
	})
	left := snapshots(t, ns.name)
	if len(left) != 1 || len(left[0].Tags) != 1 || left[0].Tags[0] != "by-hand" {
		t.Errorf("the snapshots are %+v, want only that by hand", left)
	}
	if locks := lockFiles(t, ns.name); len(locks) > 0 {
		t.Errorf("locks remain: %v", locks)
	}
}
