// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// syncLimit is how long Velero takes to look into the bucket again: it does every minute.
const syncLimit = 100 * time.Second

// TestBackupExpires lets the time of one of two backups run out.
func TestBackupExpires(t *testing.T) {
	needsNode(t)
	t.Parallel()
	ns := newNamespace(t, "expiry", 0)
	apply(t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", "echo one > /cache/file")
	wantCompleted(t, backUp(t, "expiry-kept", "--include-namespaces=expiry"))
	kept := wantBackedUp(t, "expiry-kept", "web/cache")["web/cache"].Status.SnapshotID
	backup := backUp(t, "expiry-short", "--include-namespaces=expiry", "--ttl=20s")
	wantCompleted(t, backup)
	if backup.Status.Expiration == nil || time.Until(backup.Status.Expiration.Time) > time.Minute {
		t.Fatalf("the backup expires at %v", backup.Status.Expiration)
	}
	eventually(t, time.Minute, "end of the expired backup", func() error {
		return checkGone(t, "-n", velero.Namespace, "backups.velero.io", "expiry-short")
	})
	wantSnapshots(t, ns.name, kept)
	deleteBackup(t, "expiry-kept")
	wantSnapshots(t, ns.name)
}

// TestDeleteBackupOfLockedRepository deletes a backup while another restic holds the repository's lock.
func TestDeleteBackupOfLockedRepository(t *testing.T) {
	needsNode(t)
	t.Parallel()
	ns := newNamespace(t, "held", 0)
	apply(t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", "echo one > /cache/file")
	wantCompleted(t, backUp(t, "held", "--include-namespaces=held"))
	taken := wantBackedUp(t, "held", "web/cache")["web/cache"]

	// restic takes its lock before it reads, and keeps it for as long as there is something to wait for.
	cmd, _ := resticCommand(t, repositoryPath(ns.name), password(t), "backup", "--stdin", "--no-cache", "--tag=by-hand")
	input, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "lock of a person's restic", func() error {
		if locks := lockFiles(t, ns.name); len(locks) == 0 {
			return errors.New("there is none")
		}
		return nil
	})
	veleroCLI(t, "backup", "delete", "held", "--confirm")
	eventually(t, time.Minute, "request to forget", func() error {
		object, err := tryGet[resticv1.PodVolumeBackup](t, "-n", velero.Namespace, "podvolumebackups.restic.velero.io",
			taken.Name)
		if err == nil && !object.Spec.Forget {
			err = fmt.Errorf("it is not asked for")
		}
		return err
	})
	time.Sleep(8 * time.Second) // for an agent that would not care about the lock
	wantSnapshots(t, ns.name, taken.Status.SnapshotID)

	if _, err := io.WriteString(input, "content"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(input.Close(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	eventually(t, 90*time.Second, "end of the PodVolumeBackup", func() error {
		return checkGone(t, "-n", velero.Namespace, "podvolumebackups.restic.velero.io", taken.Name)
	})
	left := snapshots(t, ns.name)
	if len(left) != 1 || len(left[0].Tags) != 1 || left[0].Tags[0] != "by-hand" {
		t.Errorf("the snapshots are %+v, want the person's alone", left)
	}
	if locks := lockFiles(t, ns.name); len(locks) > 0 {
		t.Errorf("locks are left: %v", locks)
	}
}

// lockFiles are the files of the locks in a namespace's repository.
func lockFiles(t *testing.T, namespace string) []string {
	t.Helper()
	locks, err := filepath.Glob(filepath.Join(suite.store.Folder, "restic", namespace, "locks", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return locks
}

// TestOrphanedSnapshots loses two backups otherwise than by deleting them: of one the bucket still has everything, of the other
// nothing. It is not parallel: it changes everybody's agents.
func TestOrphanedSnapshots(t *testing.T) {
	needsNode(t)
	ns := newNamespace(t, "orphan", 0)
	apply(t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", "echo one > /cache/file")
	wantCompleted(t, backUp(t, "orphan-lost", "--include-namespaces=orphan"))
	wantCompleted(t, backUp(t, "orphan-hidden", "--include-namespaces=orphan"))
	lost := wantBackedUp(t, "orphan-lost", "web/cache")["web/cache"].Status.SnapshotID
	hidden := wantBackedUp(t, "orphan-hidden", "web/cache")["web/cache"].Status.SnapshotID
	foreign := ns.createForeignSnapshots(t)
	ns.shortenOrphanSweep(t)

	if err := os.RemoveAll(filepath.Join(suite.store.Folder, "backups", "orphan-lost")); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "-n", velero.Namespace, "delete", "backups.velero.io", "orphan-lost", "orphan-hidden")
	repository := func() resticv1.ResticRepository {
		return get[resticv1.ResticRepository](t, "-n", velero.Namespace, "resticrepositories.restic.velero.io",
			contract.RepositoryName(ns.name, "default"))
	}
	eventually(t, time.Minute, "report of the orphans", func() error {
		if got := repository().Status; got.OrphanCount == 0 {
			return fmt.Errorf("there is none: %+v", got)
		}
		return nil
	})
	events := kubectl(t, "-n", velero.Namespace, "get", "events", "--field-selector",
		"involvedObject.name="+contract.RepositoryName(ns.name, "default"))
	wantContains(t, "kubectl get events", events, "OrphansFound", "of backups that no longer exist", "SharedRepository",
		"another-cluster")
	eventually(t, syncLimit, "end of the lost backup's snapshot", func() error {
		for _, s := range snapshots(t, ns.name) {
			if s.ID == lost {
				return fmt.Errorf("it is still there: %+v", repository().Status)
			}
		}
		return nil
	})
	if err := checkGone(t, "-n", velero.Namespace, "backups.velero.io", "orphan-hidden"); err == nil {
		t.Error("Velero has not brought the hidden backup back")
	}
	wantSnapshots(t, ns.name, append(foreign, hidden)...)
	deleteBackup(t, "orphan-hidden")
	wantSnapshots(t, ns.name, foreign...)
}

// createForeignSnapshots puts two snapshots into the namespace's repository, by a person and by another cluster, and returns
// their IDs.
func (ns *testNamespace) createForeignSnapshots(t *testing.T) []string {
	t.Helper()
	var ids []string
	for _, tags := range [][]string{
		{"--tag=by-hand"},
		{
			"--host=velero", "--tag=backup=theirs", "--tag=backup-uid=u", "--tag=pod-volume-backup=theirs-1",
			"--tag=cluster=another-cluster", "--tag=velero-namespace=velero",
		},
	} {
		args := append([]string{"backup", "--no-cache", "--json", "--stdin"}, tags...)
		cmd, stderr := resticCommand(t, repositoryPath(ns.name), password(t), args...)
		cmd.Stdin = strings.NewReader("content")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, stderr)
		}
		decoder := json.NewDecoder(bytes.NewReader(out))
		var last struct {
			ID string `json:"snapshot_id"`
		}
		for decoder.More() {
			if err := decoder.Decode(&last); err != nil {
				t.Fatal(err)
			}
		}
		ids = append(ids, last.ID)
	}
	return ids
}

// shortenOrphanSweep has the agents look for orphans every few seconds, and wait no longer, until the test is over.
func (ns *testNamespace) shortenOrphanSweep(t *testing.T) {
	t.Helper()
	patchDaemonSet(t, `[{"op":"add","path":"/spec/template/spec/containers/0/args","value":`+
		`["--orphan-sweep=5s","--orphan-grace=5s"]}]`)
	t.Cleanup(func() {
		patchDaemonSet(t, `[{"op":"replace","path":"/spec/template/spec/containers/0/args","value":[]}]`)
		waitAgents(t)
	})
	waitAgents(t)
}

// TestRestoreAfterLosingCRDs deletes the definitions of our resources, and every object with them. It is not parallel: they
// are everybody's.
func TestRestoreAfterLosingCRDs(t *testing.T) {
	needsNode(t)
	ns := newNamespace(t, "undefined", 0)
	apply(t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", "echo one > /cache/file")
	wantCompleted(t, backUp(t, "undefined", "--include-namespaces=undefined"))
	taken := wantBackedUp(t, "undefined", "web/cache")["web/cache"].Status.SnapshotID
	ns.delete()

	definitions := filepath.Join(suite.repository, "examples", "base", "crds")
	kubectl(t, "delete", "-k", definitions, "--timeout=60s")
	wantSnapshots(t, ns.name, taken)
	kubectl(t, "apply", "-k", definitions)
	for resource := range strings.SplitSeq(customResources, ",") {
		kubectl(t, "wait", "--for=condition=Established", "crd/"+resource, "--timeout=60s")
	}

	wantRestored(t, restore(t, "undefined", "undefined"))
	ns.waitReady("web")
	if got := ns.shell("web", "cat /cache/file"); got != "one\n" {
		t.Errorf("the file is %q, want one", got)
	}
	deleteBackup(t, "undefined")
	wantSnapshots(t, ns.name)
}
