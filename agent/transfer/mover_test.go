// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/velero-restic/velero-plugin-for-restic/agent/hostpath"
	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// TestBackupAndRestore takes a volume and writes it into a fresh one.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.probe()
	source, from := s.volume("pod-1", map[string]string{
		"a file": "content", "folder/deep/er": "more", "lost+found/#12": "of the file system",
		"folder/lost+found": "a user's", ".velero/0a1b": "a marker", ".velero-not": "a user's",
	})
	old := time.Date(2001, 2, 3, 4, 5, 6, 789000000, time.UTC)
	if err := errors.Join(
		os.Symlink("/nowhere/at all", filepath.Join(from, "link")), os.Mkdir(filepath.Join(from, "empty"), 0o711),
		os.Chtimes(filepath.Join(from, "empty"), old, old), os.Chmod(filepath.Join(from, "a file"), 0o640|os.ModeSetuid),
		os.Chmod(from, 0o750|os.ModeSetgid), os.Chtimes(from, old, old),
	); err != nil {
		t.Fatal(err)
	}
	taken := s.backup(source, "pvb-1", nil)
	if taken.Path != from || taken.Summary.TotalFilesProcessed == 0 || !strings.HasSuffix(taken.URL, "bucket/shop") {
		t.Errorf("the outcome is %+v", taken)
	}

	target, to := s.volume("pod-2", map[string]string{"lost+found/own": "of the new file system", "a file": "older"})
	var last transfer.Progress
	outcome, err := s.Restore(t.Context(), transfer.RestoreRequest{
		Repository: shop(), Volume: target, SnapshotID: taken.SnapshotID,
	}, func(p transfer.Progress) { last = p })
	if err != nil || outcome.Warnings.Count != 0 || outcome.SnapshotID != taken.SnapshotID {
		t.Fatalf("restoring gave %+v, %v", outcome, err)
	}
	if outcome.TotalBytes == 0 || last.BytesDone != outcome.TotalBytes {
		t.Errorf("%d bytes were restored, and the last progress was %+v", outcome.TotalBytes, last)
	}
	want, got := content(t, from), content(t, to)
	for _, name := range []string{"lost+found", "lost+found/#12", ".velero", ".velero/0a1b"} {
		delete(want, name)
	}
	if !strings.HasSuffix(got["lost+found/own"], " of the new file system") {
		t.Error("the restore has touched lost+found of the new volume")
	}
	for _, name := range []string{"lost+found", "lost+found/own", ".velero"} {
		delete(got, name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the restored volume differs (-want +got):\n%s", diff)
	}
}

// TestEmptyVolume takes volumes without any file of a user's, which restic itself refuses.
func TestEmptyVolume(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.probe()
	source, from := s.volume("pod-1", map[string]string{"lost+found/#12": "of the file system"})
	if err := os.Chmod(from, 0o711); err != nil {
		t.Fatal(err)
	}
	claimed := func(r *transfer.BackupRequest) { r.Tags[contract.TagPVCUID] = "claim-1" }
	taken := s.backup(source, "pvb-1", claimed)
	if s.snapshots()[taken.SnapshotID].Tags[contract.TagEmpty] != "true" {
		t.Errorf("the snapshot is not tagged as that of an empty volume: %v", s.snapshots()[taken.SnapshotID].Tags)
	}
	target, to := s.volume("pod-2", nil)
	outcome, err := s.Restore(t.Context(), transfer.RestoreRequest{
		Repository: shop(), Volume: target, SnapshotID: taken.SnapshotID,
	}, ignore)
	if err != nil || outcome.SnapshotID != taken.SnapshotID {
		t.Fatalf("restoring gave %+v, %v", outcome, err)
	}
	got := content(t, to)
	delete(got, ".velero")
	if len(got) != 1 || !strings.HasPrefix(got["."], "drwx--x--x ") {
		t.Errorf("the restored volume has %v, want nothing in a directory of mode 0711", got)
	}

	s.write(filepath.Join(from, "first"), "now there is one")
	if later := s.backup(source, "pvb-2", claimed); later.Parent != "" {
		t.Errorf("the next backup was compared with %s, the snapshot of nothing", later.Parent)
	}
}

// TestParent takes the same claim several times.
func TestParent(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.probe()
	source, dir := s.volume("pod-1", map[string]string{"a": "content", "b": "content of b"})
	of := func(claim, parent string) func(*transfer.BackupRequest) {
		return func(r *transfer.BackupRequest) { r.Tags[contract.TagPVCUID], r.Parent = claim, parent }
	}
	first := s.backup(source, "pvb-1", of("claim-1", ""))
	if first.Parent != "" {
		t.Errorf("the first backup has parent %s", first.Parent)
	}
	other, _ := s.volume("pod-2", map[string]string{"a": "content"})
	if got := s.backup(other, "pvb-2", of("claim-2", "")); got.Parent != "" {
		t.Errorf("the first backup of another claim has parent %s", got.Parent)
	}
	s.write(filepath.Join(dir, "b"), "changed content")
	second := s.backup(source, "pvb-3", of("claim-1", ""))
	if second.Parent != first.SnapshotID || second.Summary.FilesUnmodified != 1 || second.Summary.FilesChanged != 1 {
		t.Errorf("without a parent of the cluster's: %+v, want %s as parent", second, first.SnapshotID)
	}
	given := s.backup(source, "pvb-4", of("claim-1", first.SnapshotID))
	if given.Parent != first.SnapshotID {
		t.Errorf("the parent is %s, want the one that was given, %s", given.Parent, first.SnapshotID)
	}
	unknown := s.backup(source, "pvb-5", of("claim-1", strings.Repeat("ab", 32)))
	if unknown.Parent != given.SnapshotID {
		t.Errorf("with a parent that is gone: %s, want the claim's newest, %s", unknown.Parent, given.SnapshotID)
	}
	if got := s.backup(source, "pvb-6", of("", strings.Repeat("cd", 32))); got.Parent != "" {
		t.Errorf("with a parent that is gone, and no claim: %s, want none", got.Parent)
	}
}

// TestRepeated repeats a backup whose agent was killed before it could tell of its snapshot.
func TestRepeated(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.probe()
	source, dir := s.volume("pod-1", map[string]string{"a": "content"})
	repeated := func(r *transfer.BackupRequest) { r.Repeated = true }
	first := s.backup(source, "pvb-1", repeated)
	s.write(filepath.Join(dir, "b"), "written since")
	if got := s.backup(source, "pvb-1", repeated); got.SnapshotID != first.SnapshotID ||
		!cmp.Equal(got.Summary, first.Summary) {
		t.Errorf("the second attempt gave %+v, want the first one's %+v", got, first)
	}
	if got := s.backup(source, "pvb-2", repeated); got.SnapshotID == first.SnapshotID {
		t.Error("another PodVolumeBackup got the same snapshot")
	}
	if got := len(s.snapshots()); got != 2 {
		t.Errorf("there are %d snapshots, want 2", got)
	}
}

func TestForget(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	forget := func(names, ids []string) (transfer.ForgetOutcome, error) {
		return s.Forget(t.Context(), transfer.ForgetRequest{
			Repository: shop(), PodVolumeBackups: sets(names), SnapshotIDs: sets(ids),
		}, nil)
	}
	if outcome, err := forget([]string{"pvb-1"}, nil); err != nil || outcome.Count != 0 {
		t.Fatalf("in a repository that does not exist: %+v, %v", outcome, err)
	}
	s.probe()
	source, _ := s.volume("pod-1", map[string]string{"a": "content"})
	byName, byID, both := s.backup(source, "pvb-1", nil), s.backup(source, "pvb-2", nil), s.backup(source, "pvb-3", nil)
	kept := s.backup(source, "pvb-10", nil)
	for _, wanted := range []int{3, 0} {
		outcome, err := forget([]string{"pvb-1", "pvb-3", "pvb-never"}, []string{byID.SnapshotID, both.SnapshotID})
		if err != nil || outcome.Count != wanted || !outcome.PodVolumeBackups.Has("pvb-3") {
			t.Fatalf("forgetting gave %+v, %v, want %d snapshots", outcome, err, wanted)
		}
	}
	left := s.snapshots()
	if _, found := left[kept.SnapshotID]; !found || len(left) != 1 {
		t.Errorf("%d snapshots are left, want %s alone (gone: %s)", len(left), kept.SnapshotID, byName.SnapshotID)
	}
	if outcome, err := forget([]string{""}, nil); err != nil || outcome.Count != 0 {
		t.Errorf("the empty name stands for %+v, %v", outcome, err)
	}
	s.setReadOnly()
	_, err := forget([]string{"pvb-10"}, nil)
	wantNotUsable(t, err, locationName, "read-only", "ReadWrite")
	if len(s.snapshots()) != 1 {
		t.Error("a snapshot was removed from a read-only location")
	}
}

func TestBackupIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.probe()
	source, _ := s.volume("pod-1", map[string]string{"a": "content"})
	request := transfer.BackupRequest{
		Repository: shop(), Volume: source, Tags: map[string]string{contract.TagPodVolumeBackup: "pvb-1"},
	}
	gone := request
	gone.Volume.Pod = gone.Volume.Pod.DeepCopy()
	gone.Volume.Pod.UID = "pod-gone"
	if _, err := s.Backup(t.Context(), gone, ignore); !errors.Is(err, hostpath.ErrNotMounted) {
		t.Errorf("of a pod that is gone: %v, want ErrNotMounted", err)
	}
	s.setReadOnly()
	outcome, err := s.Backup(t.Context(), request, ignore)
	wantNotUsable(t, err, "BackupStorageLocation "+locationName, "read-only", "ReadWrite")
	if outcome.SnapshotID != "" || len(s.snapshots()) != 0 {
		t.Errorf("a snapshot was made in a read-only location: %+v", outcome)
	}
}

// TestBackupIsCanceled stops restic while it reads a file that it would read for long.
func TestBackupIsCanceled(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.probe()
	source, dir := s.volume("pod-1", map[string]string{"huge": ""})
	if err := os.Truncate(filepath.Join(dir, "huge"), 1<<40); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	_, err := s.Backup(ctx, transfer.BackupRequest{
		Repository: shop(), Volume: source, Tags: map[string]string{contract.TagPodVolumeBackup: "pvb-1"},
	}, func(p transfer.Progress) {
		if p.TotalBytes > 0 {
			cancel(transfer.ErrStopping)
		}
	})
	if !errors.Is(err, restic.ErrCanceled) || !errors.Is(err, transfer.ErrStopping) {
		t.Errorf("ended with %v, want ErrCanceled and the cause", err)
	}
	if got := len(s.snapshots()); got != 0 {
		t.Errorf("there are %d snapshots, want none", got)
	}
	locks, err := filepath.Glob(filepath.Join(s.bucket, "shop", "locks", "*"))
	if err != nil || len(locks) != 0 {
		t.Errorf("locks are left: %v, %v", locks, err)
	}
}

// TestRestoreFlushes has storage refuse data that restic could write: the restore fails, since the kernel has the data
// alone.
func TestRestoreFlushes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.probe()
	source, _ := s.volume("pod-1", map[string]string{"a file": "content"})
	taken := s.backup(source, "pvb-1", nil)
	target, to := s.volume("pod-2", nil)
	refused := errors.New("no space left on device")
	s.Flush = func(dir string) error {
		if data, err := os.ReadFile(filepath.Join(dir, "a file")); dir != to || string(data) != "content" {
			t.Errorf("%s is flushed, with %q in it (%v), want %s when its content is there", dir, data, err, to)
		}
		return refused
	}
	_, err := s.Restore(t.Context(), transfer.RestoreRequest{
		Repository: shop(), Volume: target, SnapshotID: taken.SnapshotID,
	}, ignore)
	if !errors.Is(err, refused) {
		t.Errorf("the restore ended with %v, want %v", err, refused)
	}
}

func TestRestoreFindsTheSnapshot(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.probe()
	source, dir := s.volume("pod-1", map[string]string{"a": "first"})
	tagged := func(r *transfer.BackupRequest) { r.Tags[contract.TagBackupUID] = "backup-1" }
	first := s.backup(source, "pvb-1", tagged)
	s.write(filepath.Join(dir, "a"), "second")
	second := s.backup(source, "pvb-2", tagged)
	s.backup(source, "pvb-3", nil)

	cases := map[string]struct {
		id   string
		tags map[string]string
		// want is the snapshot, or else part of the error.
		want, wantError string
	}{
		"the newest of those with the tags": {
			tags: map[string]string{contract.TagBackupUID: "backup-1"}, want: second.SnapshotID,
		},
		"the one with the ID": {id: first.SnapshotID, want: first.SnapshotID},
		"the one with the ID that the tags confirm": {
			id: first.SnapshotID, tags: map[string]string{contract.TagBackupUID: "backup-1"}, want: first.SnapshotID,
		},
		"none whose tags contradict the ID": {
			id: first.SnapshotID, tags: map[string]string{contract.TagPodVolumeBackup: "pvb-2"},
			wantError: "has no snapshot " + first.SnapshotID + " with the tags pod-volume-backup=pvb-2: it was deleted",
		},
		"none with an ID that is not there": {
			id: strings.Repeat("ab", 32), wantError: "has no snapshot " + strings.Repeat("ab", 32),
		},
		"none with tags that are not there": {
			tags:      map[string]string{contract.TagVolume: "x", contract.TagBackupUID: "backup-1"},
			wantError: "has no snapshot with the tags backup-uid=backup-1, volume=x",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target, to := s.volume("pod-"+strings.ReplaceAll(name, " ", "-"), nil)
			outcome, err := s.Restore(t.Context(), transfer.RestoreRequest{
				Repository: shop(), Volume: target, SnapshotID: c.id, SnapshotTags: c.tags,
			}, ignore)
			if c.wantError != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantError) {
					t.Fatalf("got %v, want %q in it", err, c.wantError)
				}
				if got := content(t, to); len(got) > 2 {
					t.Errorf("something was restored: %v", got)
				}
				return
			}
			if err != nil || outcome.SnapshotID != c.want {
				t.Fatalf("got %+v, %v", outcome, err)
			}
			if data, err := os.ReadFile(filepath.Join(to, "a")); err != nil || len(data) == 0 {
				t.Errorf("the file is %q, %v", data, err)
			}
		})
	}
}

func wantNotUsable(t *testing.T, err error, parts ...string) {
	t.Helper()
	var notUsable *session.NotUsableError
	if !errors.As(err, &notUsable) {
		t.Fatalf("got %v, want a NotUsableError", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}
