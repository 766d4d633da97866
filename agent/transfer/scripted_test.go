// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer_test

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
	"golang.org/x/sys/unix"
	"k8s.io/utils/clock"

	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/restictest"
)

// What the real restic cannot be brought to say by a test that may run as root.

func snapshotID() string { return strings.Repeat("a1", 32) }

func summary(files string) string {
	return `{"message_type":"summary","total_files_processed":` + files + `,"snapshot_id":"` + snapshotID() + `"}`
}

func TestBackupOfUnreadableFiles(t *testing.T) {
	t.Parallel()
	incomplete := func(files string) restictest.Reply {
		return restictest.Reply{
			Lines:    []string{summary(files)},
			Problems: []restic.Problem{{Item: "/v/locked", During: "archival", Message: "open: permission denied"}},
			Err:      &restic.ExitError{Subcommand: "backup", Code: 3},
		}
	}
	ends := func(code int) restictest.Reply {
		return restictest.Reply{Err: &restic.ExitError{Subcommand: "backup", Code: code}}
	}
	cases := map[string]struct {
		reply restictest.Reply
		want  error
	}{
		"some of the files: a snapshot with warnings": {incomplete("7"), nil},
		"none of the files: a failure":                {incomplete("0"), restic.ErrSourceIncomplete},
		"a locked repository: a failure":              {ends(11), restic.ErrLocked},
		"restic was killed: a failure":                {ends(137), restic.ErrKilled},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runner := &restictest.Runner{}
			runner.On("backup", c.reply)
			s := newSiteWith(t, runner)
			source, dir := s.volume("pod-1", map[string]string{"a": ""})
			outcome, err := s.Backup(t.Context(), transfer.BackupRequest{
				Repository: shop(), Volume: source, Tags: map[string]string{contract.TagPodVolumeBackup: "pvb-1"},
			}, ignore)
			if !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if outcome.Path != dir || (err == nil && (outcome.SnapshotID != snapshotID() || outcome.Warnings.Count != 1 ||
				!strings.Contains(outcome.Warnings.First[0], "locked"))) {
				t.Errorf("the outcome is %+v", outcome)
			}
		})
	}
}

func TestForgetWithLock(t *testing.T) {
	t.Parallel()
	locked := restictest.Reply{Err: &restic.ExitError{Subcommand: "forget", Code: 11}}
	listed := restictest.Reply{Lines: []string{
		`[{"id":"` + snapshotID() + `","time":"2024-01-02T03:04:05Z","tags":["pod-volume-backup=pvb-1"]}]`,
	}}
	gone := restictest.Reply{Lines: []string{`[]`}}
	lock, none := restictest.Reply{Lines: []string{snapshotID()}}, restictest.Reply{}
	refreshed := func(ago time.Duration, host string) []restictest.Reply {
		return []restictest.Reply{{Lines: []string{fmt.Sprintf(`{"time":%q,"hostname":%q,"pid":7}`,
			time.Now().Add(-ago).Format(time.RFC3339), host)}}}
	}
	cases := map[string]struct {
		forgets, lists []restictest.Reply
		// locks are the lists of locks, and lock what each of them is.
		locks, lock []restictest.Reply
		shared      bool
		want        error
		// commands are the subcommands in order, beside those that read.
		commands []string
	}{
		"one that is stale is removed": {
			forgets: []restictest.Reply{locked, {}},
			lists:   []restictest.Reply{listed, listed, listed, gone},
			locks:   []restictest.Reply{lock, none}, lock: refreshed(time.Hour, "elsewhere"),
			commands: []string{"forget", "unlock", "forget"},
		},
		"one of this host whose process is gone is removed": {
			forgets: []restictest.Reply{locked, {}},
			lists:   []restictest.Reply{listed, listed, listed, gone},
			locks:   []restictest.Reply{lock, none}, lock: refreshed(time.Minute, "this-host"),
			commands: []string{"forget", "unlock", "forget"},
		},
		"one of a host that another container may have the name of stays": {
			forgets: []restictest.Reply{locked}, lists: []restictest.Reply{listed}, shared: true,
			locks: []restictest.Reply{lock}, lock: refreshed(time.Minute, "this-host"),
			want: restic.ErrLocked, commands: []string{"forget"},
		},
		"one that is alive stays, and so do the snapshots": {
			forgets: []restictest.Reply{locked}, lists: []restictest.Reply{listed},
			locks: []restictest.Reply{lock}, lock: refreshed(time.Minute, "elsewhere"),
			want: restic.ErrLocked, commands: []string{"forget"},
		},
		"without one nothing is unlocked": {
			forgets: []restictest.Reply{{}}, lists: []restictest.Reply{listed, listed, gone}, commands: []string{"forget"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runner := &restictest.Runner{}
			runner.On("forget", c.forgets...)
			runner.On("snapshots", c.lists...)
			runner.On("list", c.locks...)
			runner.On("cat", c.lock...)
			s := newSiteWith(t, runner)
			s.Host, s.SharedHost = "this-host", c.shared
			_, err := s.Forget(t.Context(), transfer.ForgetRequest{
				Repository: shop(), PodVolumeBackups: sets([]string{"pvb-1"}), SnapshotIDs: sets(nil),
			}, nil)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			var commands []string
			for _, command := range runner.Commands() {
				if !slices.Contains([]string{"snapshots", "list", "cat"}, command.Args[0]) {
					commands = append(commands, command.Args[0])
				}
				if slices.Contains(command.Args, "--remove-all") {
					t.Errorf("locks of the living are removed: %v", command.Args)
				}
			}
			if diff := cmp.Diff(c.commands, commands); diff != "" {
				t.Errorf("commands (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMarkers(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, &restictest.Runner{})
	volume, dir := s.volume("pod-1", map[string]string{"a": "content"})
	markers := transfer.Markers{Finder: s.Finder, Clock: clock.RealClock{}}
	const uid = "restore-uid"
	for range 2 {
		if err := markers.Ensure(volume, uid, ""); err != nil {
			t.Fatal(err)
		}
	}
	if content, err := os.ReadFile(filepath.Join(dir, contract.DoneMarker(uid))); err != nil || len(content) != 0 {
		t.Errorf("the done file is %q, %v", content, err)
	}
	if err := markers.Ensure(volume, "another", "Failed: no snapshot"); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, contract.FailedMarker("another")))
	if err != nil || string(content) != "Failed: no snapshot" {
		t.Errorf("the failed file is %q, %v", content, err)
	}
	for range 2 {
		if err := errors.Join(markers.Remove(volume, uid), markers.Remove(volume, "another")); err != nil {
			t.Fatal(err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left are %v, %v", left, err)
	}
	volume.Pod.UID = "gone"
	if err := markers.Remove(volume, uid); err != nil {
		t.Errorf("of a volume that is gone: %v", err)
	}
	if err := markers.Ensure(volume, uid, ""); err == nil {
		t.Error("the marker of a volume that is gone was written")
	}
}

// TestMarkersAreRevealedLate makes sure that a volume whose pod has just started is not opened to everybody, and one
// whose helper cannot look into it is, for a moment.
func TestMarkersAreRevealedLate(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, &restictest.Runner{})
	volume, dir := s.volume("pod-1", map[string]string{"a": "content"})
	markers := transfer.Markers{Finder: s.Finder, Clock: clock.RealClock{}}
	const uid = "restore-uid"
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	// The kernel notes each change of a mode, also one that was taken back.
	changed := func() (unix.Timespec, uint32) {
		var stat unix.Stat_t
		if err := unix.Stat(dir, &stat); err != nil {
			t.Fatal(err)
		}
		return stat.Ctim, stat.Mode & 0o777
	}
	ensure := func() {
		if err := markers.Ensure(volume, uid, ""); err != nil {
			t.Fatal(err)
		}
	}
	ensure()
	before, _ := changed()
	ensure()
	if after, mode := changed(); after != before || mode != 0o700 {
		t.Errorf("the root was opened at once; its mode is %o", mode)
	}
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(filepath.Join(dir, contract.DoneMarker(uid)), old, old); err != nil {
		t.Fatal(err)
	}
	ensure()
	if after, mode := changed(); after == before || mode != 0o700 {
		t.Errorf("the root was not opened to a helper that waits, or left open; its mode is %o", mode)
	}
}
