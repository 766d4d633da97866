// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/restictest"
)

func TestForget(t *testing.T) {
	t.Parallel()
	client, dir := restictest.Client(t), source(t)
	first := backup(t, client, restic.BackupOptions{Dir: dir}).SnapshotID
	second := backup(t, client, restic.BackupOptions{Dir: dir}).SnapshotID
	third := backup(t, client, restic.BackupOptions{Dir: dir}).SnapshotID
	left := func() []string {
		snapshots, err := client.Snapshots(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, snapshot := range snapshots {
			ids = append(ids, snapshot.ID)
		}
		return ids
	}
	if err := client.Forget(t.Context(), []string{first, "latest"}); err == nil {
		t.Error("a name that is no ID was taken")
	}
	if err := client.Forget(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{first, second, third}, left()); diff != "" {
		t.Error(diff)
	}
	for range 2 { // the second time they are gone
		if err := client.Forget(t.Context(), []string{first, second[:8], absentID}); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{third}, left()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestLocks(t *testing.T) {
	t.Parallel()
	process, repository := restictest.Process(t), restictest.Repository(t)
	client := restic.NewClient(process, repository)
	if err := client.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	id := backup(t, client, restic.BackupOptions{Dir: source(t)}).SnapshotID
	holder, release := holdLock(t, process.Binary, repository)
	locks := waitLocks(t, client, 1)
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if locks[0].PID != holder.Process.Pid || locks[0].Hostname != hostname || locks[0].Exclusive ||
		locks[0].Stale(time.Now()) || len(locks[0].ID) != 64 {
		t.Errorf("got %+v", locks[0])
	}
	if err := client.Forget(t.Context(), []string{id}); !errors.Is(err, restic.ErrLocked) {
		t.Errorf("with a lock: got %v", err)
	}
	if err := client.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	waitLocks(t, client, 1) // its holder lives

	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = release.Close() // the reader is gone already
	_ = holder.Wait()   // killed
	waitLocks(t, client, 1)
	if err := client.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	waitLocks(t, client, 0)
	if err := client.Forget(t.Context(), []string{id}); err != nil {
		t.Errorf("without a lock: got %v", err)
	}
}

// holdLock starts a backup that waits for its input.
func holdLock(t *testing.T, binary string, repository restic.Repository) (*exec.Cmd, io.Closer) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, "backup", "--stdin", "--quiet")
	cmd.Env = append(slices.Clone(repository.Env), "RESTIC_REPOSITORY="+repository.URL,
		"RESTIC_PASSWORD_FILE="+repository.PasswordFile, "RESTIC_CACHE_DIR="+repository.CacheDir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, stdin
}

func waitLocks(t *testing.T, client *restic.Client, wanted int) []restic.Lock {
	t.Helper()
	var locks []restic.Lock
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var err error
		if locks, err = client.Locks(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(locks) == wanted {
			return locks
		}
	}
	t.Fatalf("got locks %+v, want %d", locks, wanted)
	return nil
}

// TestViewSnapshots looks at a repository that somebody works on, in which one snapshot is damaged.
func TestViewSnapshots(t *testing.T) {
	t.Parallel()
	process, repository := restictest.Process(t), restictest.Repository(t)
	client := restic.NewClient(process, repository)
	if err := client.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := backup(t, client, restic.BackupOptions{Dir: source(t), Tags: map[string]string{"pod": "web-1"}}).SnapshotID
	second := backup(t, client, restic.BackupOptions{Dir: source(t)}).SnapshotID
	damaged := backup(t, client, restic.BackupOptions{Dir: source(t)}).SnapshotID
	path := filepath.Join(repository.URL, "snapshots", damaged)
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	// A host name that the environment gives is none to select by.
	repository.Env, repository.CacheDir = append(repository.Env, "RESTIC_HOST=elsewhere"), ""
	client = restic.NewClient(process, repository)
	holder, release := holdLock(t, process.Binary, repository)
	before := waitLocks(t, client, 1)
	snapshots, unreadable, err := client.ViewSnapshots(t.Context())
	if err != nil || unreadable != 1 || len(snapshots) != 2 || snapshots[0].ID != first || snapshots[1].ID != second ||
		snapshots[0].Tags["pod"] != "web-1" {
		t.Errorf("got %+v, %d unreadable, %v", snapshots, unreadable, err)
	}
	if diff := cmp.Diff(before[0].ID, waitLocks(t, client, 1)[0].ID); diff != "" {
		t.Errorf("the locks are others:\n%s", diff)
	}
	_ = holder.Process.Kill()
	_ = release.Close() // the reader is gone already
	_ = holder.Wait()   // killed
}

func TestCanceledBackupLeavesNoLock(t *testing.T) {
	t.Parallel()
	client, dir := restictest.Client(t), t.TempDir()
	// Reading a terabyte of nothing takes much longer than the test; storing it takes no space.
	file := filepath.Join(dir, "huge")
	writeFile(t, file, "")
	if err := os.Truncate(file, 1<<40); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("the user has changed their mind")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	result, err := client.Backup(ctx, restic.BackupOptions{Dir: dir}, func(p restic.Progress) {
		if p.BytesDone > 0 {
			cancel(cause)
		}
	})
	if !errors.Is(err, restic.ErrCanceled) || !errors.Is(err, cause) || result.SnapshotID != "" {
		t.Errorf("got %+v, %v", result, err)
	}
	waitLocks(t, client, 0)
	if snapshots, err := client.Snapshots(t.Context(), nil); err != nil || len(snapshots) != 0 {
		t.Errorf("got %+v, %v", snapshots, err)
	}
}

func TestReadOnlyRepository(t *testing.T) {
	t.Parallel()
	process, repository := restictest.Process(t), restictest.Repository(t)
	writer := restic.NewClient(process, repository)
	if err := writer.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := source(t)
	id := backup(t, writer, restic.BackupOptions{Dir: dir}).SnapshotID
	repository.ReadOnly = true
	reader := restic.NewClient(process, repository)
	_, err := reader.Backup(t.Context(), restic.BackupOptions{Dir: dir}, nil)
	for name, err := range map[string]error{
		"Backup": err,
		"Init":   reader.Init(t.Context()),
		"Forget": reader.Forget(t.Context(), []string{id}),
		"Unlock": reader.Unlock(t.Context()),
	} {
		if !errors.Is(err, restic.ErrReadOnly) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if snapshots, err := reader.Snapshots(t.Context(), nil); err != nil || len(snapshots) != 1 {
		t.Errorf("got %+v, %v", snapshots, err)
	}
	_, err = reader.Restore(t.Context(), restic.RestoreOptions{SnapshotID: id, Target: t.TempDir()}, nil)
	if err != nil {
		t.Error(err)
	}
}
