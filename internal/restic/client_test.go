// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/restictest"
)

// absentID is the ID of no snapshot.
const absentID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// source returns a directory with two files.
func source(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "a"), "alpha")
	writeFile(t, filepath.Join(dir, "sub", "b"), "beta")
	return dir
}

func backup(t *testing.T, client *restic.Client, o restic.BackupOptions) restic.BackupResult {
	t.Helper()
	result, err := client.Backup(t.Context(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestVersionIsThePinnedOne(t *testing.T) {
	client := restic.NewClient(restictest.Process(t), restic.Repository{})
	version, err := client.Version(t.Context())
	if err != nil || version != "0.19.1" {
		t.Errorf("got %q, %v", version, err)
	}
}

func TestOpeningARepository(t *testing.T) {
	t.Parallel()
	process, repository := restictest.Process(t), restictest.Repository(t)
	client := restic.NewClient(process, repository)
	if _, err := client.CatConfig(t.Context()); !errors.Is(err, restic.ErrRepositoryNotFound) {
		t.Errorf("before there is one: got %v", err)
	}
	if err := client.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	config, err := client.CatConfig(t.Context())
	if err != nil || len(config.ID) != 64 || config.Version != 2 {
		t.Errorf("got %+v, %v", config, err)
	}
	if err := client.Init(t.Context()); !errors.Is(err, restic.ErrAlreadyInitialized) {
		t.Errorf("making it again: got %v", err)
	}
	if again, err := client.CatConfig(t.Context()); err != nil || again != config {
		t.Errorf("afterwards: got %+v, %v", again, err)
	}
	repository.PasswordFile = filepath.Join(t.TempDir(), "wrong")
	writeFile(t, repository.PasswordFile, "battery staple")
	_, err = restic.NewClient(process, repository).CatConfig(t.Context())
	if !errors.Is(err, restic.ErrWrongPassword) || strings.Contains(err.Error(), "battery") {
		t.Errorf("with a wrong password: got %v", err)
	}
}

func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	client, dir := restictest.Client(t), source(t)
	tags := map[string]string{"ns": "shop", "volume": "data", "backup": "nightly=1"}
	var last restic.Progress
	result, err := client.Backup(t.Context(), restic.BackupOptions{Dir: dir, Host: "velero", Tags: tags},
		func(p restic.Progress) { last = p })
	if err != nil {
		t.Fatal(err)
	}
	if want := (restic.Progress{BytesDone: 9, TotalBytes: 9, FilesDone: 2, TotalFiles: 2}); last != want {
		t.Errorf("got progress %+v", last)
	}
	if result.Summary.FilesNew != 2 || result.Summary.TotalBytesProcessed != 9 || result.Warnings.Count != 0 {
		t.Errorf("got %+v", result)
	}
	writeFile(t, filepath.Join(dir, "c"), "gamma")
	second := backup(t, client, restic.BackupOptions{
		Dir: dir, Host: "velero", Parent: result.SnapshotID,
		Exclude: []string{filepath.Join(dir, "sub")},
	})
	if second.Summary.FilesNew != 1 || second.Summary.FilesUnmodified != 1 {
		t.Errorf("got %+v", second.Summary)
	}

	snapshots, err := client.Snapshots(t.Context(), map[string]string{"ns": "shop", "volume": "data"})
	if err != nil || len(snapshots) != 1 {
		t.Fatalf("got %+v, %v", snapshots, err)
	}
	got := snapshots[0]
	if got.ID != result.SnapshotID || got.Hostname != "velero" || got.Summary.TotalBytesProcessed != 9 ||
		!slices.Equal(got.Paths, []string{dir}) || time.Since(got.Time) > time.Hour {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff(tags, got.Tags); diff != "" {
		t.Error(diff)
	}
	none, err := client.Snapshots(t.Context(), map[string]string{"ns": "shop", "volume": "x"})
	if err != nil || len(none) != 0 {
		t.Errorf("a selector that matches in part: got %+v, %v", none, err)
	}
	all, err := client.Snapshots(t.Context(), nil)
	if err != nil || len(all) != 2 || all[1].Parent != result.SnapshotID {
		t.Errorf("got %+v, %v", all, err)
	}

	target := t.TempDir()
	restored, err := client.Restore(t.Context(), restic.RestoreOptions{
		SnapshotID: result.SnapshotID, Target: target,
		Sparse: true, Exclude: []string{"/a"},
	}, func(p restic.Progress) { last = p })
	if err != nil || restored.BytesRestored != 4 || last.BytesDone != 4 {
		t.Errorf("got %+v, %+v, %v", restored, last, err)
	}
	if content, err := os.ReadFile(filepath.Join(target, "sub", "b")); err != nil || string(content) != "beta" {
		t.Errorf("got %q, %v", content, err)
	}
	if _, err := os.Stat(filepath.Join(target, "a")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was left out is there: %v", err)
	}
}

func TestBackupThatCannotBe(t *testing.T) {
	t.Parallel()
	client := restictest.Client(t)
	empty := t.TempDir()
	cases := map[string]struct {
		options restic.BackupOptions
		want    error
	}{
		"an empty directory": {restic.BackupOptions{Dir: empty}, restic.ErrEmptySnapshot},
		"a forgotten parent": {restic.BackupOptions{Dir: source(t), Parent: absentID}, restic.ErrParentNotFound},
		"a tag with a comma": {
			restic.BackupOptions{Dir: empty, Tags: map[string]string{"a": "b,c"}}, restic.ErrBadTag,
		},
		"a directory amiss":   {restic.BackupOptions{Dir: filepath.Join(empty, "x")}, os.ErrNotExist},
		"nothing that exists": {restic.BackupOptions{Dir: empty, Paths: []string{"x"}}, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			result, err := client.Backup(t.Context(), c.options, nil)
			if err == nil || result.SnapshotID != "" || (c.want != nil && !errors.Is(err, c.want)) {
				t.Errorf("got %+v, %v", result, err)
			}
		})
	}
	if snapshots, err := client.Snapshots(t.Context(), nil); err != nil || len(snapshots) != 0 {
		t.Errorf("got %+v, %v", snapshots, err)
	}
	// The volume's path gives the snapshot of an empty volume something to hold.
	backup(t, client, restic.BackupOptions{Dir: empty, Paths: []string{empty}})
}

func TestBackupOfAnIncompleteSource(t *testing.T) {
	t.Parallel()
	client, dir := restictest.Client(t), source(t)
	// A file that is there and cannot be read, even by root: the first page of a process's memory is never mapped.
	for name, path := range map[string]string{"a file that cannot be read": "/proc/1/mem", "a path amiss": "nowhere"} {
		t.Run(name, func(t *testing.T) {
			result, err := client.Backup(t.Context(), restic.BackupOptions{Dir: dir, Paths: []string{".", path}}, nil)
			if !errors.Is(err, restic.ErrSourceIncomplete) || len(result.SnapshotID) != 64 {
				t.Errorf("got %+v, %v", result, err)
			}
			if result.Warnings.Count != 1 || len(result.Warnings.First) != 1 ||
				!strings.Contains(result.Warnings.First[0], path) {
				t.Errorf("got warnings %+v", result.Warnings)
			}
		})
	}
}

func TestRestoreThatFails(t *testing.T) {
	t.Parallel()
	repository := restictest.Repository(t)
	client := restic.NewClient(restictest.Process(t), repository)
	if err := client.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := backup(t, client, restic.BackupOptions{Dir: source(t)})
	for _, id := range []string{absentID, absentID[:8]} {
		_, err := client.Restore(t.Context(), restic.RestoreOptions{SnapshotID: id, Target: t.TempDir()}, nil)
		if !errors.Is(err, restic.ErrSnapshotNotFound) {
			t.Errorf("snapshot %s: got %v", id, err)
		}
	}
	// The packs of file contents are lost, those of directories are in the cache.
	if err := os.RemoveAll(filepath.Join(repository.URL, "data")); err != nil {
		t.Fatal(err)
	}
	result, err := client.Restore(t.Context(),
		restic.RestoreOptions{SnapshotID: done.SnapshotID, Target: t.TempDir()}, nil)
	if err == nil || errors.Is(err, restic.ErrRestoreMetadata) || result.Warnings.Count == 0 {
		t.Errorf("lost content: got %+v, %v", result, err)
	}
}

// TestRestoreWithoutTheRightToChangeOwners runs restic as root without that capability, which is what root is on
// network storage that squashes it.
func TestRestoreWithoutTheRightToChangeOwners(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root gets such errors from restic: others are expected not to be able to")
	}
	dir, process, repository := source(t), restictest.Process(t), restictest.Repository(t)
	if err := os.Chown(filepath.Join(dir, "a"), 1000, 1000); err != nil {
		t.Fatal(err)
	}
	client := restic.NewClient(process, repository)
	if err := client.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := backup(t, client, restic.BackupOptions{Dir: dir})

	wrapper := filepath.Join(t.TempDir(), "restic")
	script := fmt.Sprintf("#!/bin/sh\nexec setpriv --bounding-set=-chown -- '%s' \"$@\"\n", process.Binary)
	if err := os.WriteFile(wrapper, []byte(script), 0o755); err != nil { //nolint:gosec // it must be executable
		t.Fatal(err)
	}
	repository.Env = append(repository.Env, "PATH="+os.Getenv("PATH"))
	process.Binary = wrapper
	target := t.TempDir()
	result, err := restic.NewClient(process, repository).Restore(t.Context(),
		restic.RestoreOptions{SnapshotID: done.SnapshotID, Target: target}, nil)
	if !errors.Is(err, restic.ErrRestoreMetadata) {
		t.Fatalf("got %v", err)
	}
	if result.Warnings.Count != 1 || !strings.Contains(result.Warnings.First[0], "lchown") {
		t.Errorf("got warnings %+v", result.Warnings)
	}
	if content, err := os.ReadFile(filepath.Join(target, "a")); err != nil || string(content) != "alpha" {
		t.Errorf("got %q, %v", content, err)
	}
}
