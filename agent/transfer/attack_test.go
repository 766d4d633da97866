// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/velero-restic/velero-plugin-for-restic/agent/hostpath"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/restictest"
)

// minSwaps is how often an attack replaces the directory, and maxRuns how many runs of restic that may take.
const (
	minSwaps = 10_000
	maxRuns  = 40
)

// filesOfAttack is large enough for restic to be at work in the directory when the attacker replaces it.
const filesOfAttack = 400

// canaryID owns the files outside of the volume, and nothing in it.
const canaryID = 4242

// attacker is the owner of a volume, who replaces its directory `dir` with a symbolic link and back.
type attacker struct {
	t *testing.T
	// dir is the directory, aside its other name, and link the symbolic link that takes its place.
	dir, aside, link string
	swaps            atomic.Int64
	stop, done       chan struct{}
}

// attack swaps volume/dir and a link to target: at first at the very moment at which a process opens or makes
// something in watched, then without a pause.
func attack(t *testing.T, volume, watched, target string) *attacker {
	t.Helper()
	a := &attacker{
		t: t, dir: filepath.Join(volume, "dir"), aside: filepath.Join(volume, "aside"),
		link: filepath.Join(volume, "link"), stop: make(chan struct{}), done: make(chan struct{}),
	}
	if err := os.Symlink(target, a.link); err != nil {
		t.Fatal(err)
	}
	events, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.InotifyAddWatch(events, watched, unix.IN_OPEN|unix.IN_CREATE|unix.IN_ACCESS); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(a.done)
		defer func() { _ = unix.Close(events) }()
		a.await(events)
		for {
			select {
			case <-a.stop:
				return
			default:
				a.swap()
			}
		}
	}()
	return a
}

// await returns when the watched directory is in use, or when the attack ends.
func (a *attacker) await(events int) {
	for {
		select {
		case <-a.stop:
			return
		default:
		}
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(events), Events: unix.POLLIN}}, 10)
		if err != nil && !errors.Is(err, unix.EINTR) {
			a.t.Error(err)
			return
		}
		if ready > 0 {
			return
		}
	}
}

// swap exchanges the directory and the link, so that each moment has one of them in the place.
func (a *attacker) swap() {
	if unix.Renameat2(unix.AT_FDCWD, a.dir, unix.AT_FDCWD, a.link, unix.RENAME_EXCHANGE) == nil {
		a.swaps.Add(1)
	}
}

func (a *attacker) end() {
	close(a.stop)
	<-a.done
	// The directory gets its name back.
	if info, err := os.Lstat(a.dir); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		a.swap()
	}
	if err := os.Remove(a.link); err != nil {
		a.t.Error(err)
	}
}

// canary makes a directory outside of all volumes, whose files have the names of those in the volume.
func canary(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "other-tenant")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range filesOfAttack {
		path := filepath.Join(dir, fileOfAttack(i))
		if err := errors.Join(os.WriteFile(path, []byte("CANARY"), 0o600), os.Chown(path, canaryID, canaryID)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func fileOfAttack(i int) string { return fmt.Sprintf("file-%04d", i) }

func volumeOfAttack(s *site, uid string) (hostpath.Volume, string) {
	files := map[string]string{}
	for i := range filesOfAttack {
		files["dir/"+fileOfAttack(i)] = fmt.Sprintf("own %d", i)
	}
	return s.volume(uid, files)
}

// leaks reports what a snapshot has of the canary: its content, or its owner.
func leaks(s *site, snapshot, uid string) []string {
	s.t.Helper()
	target, to := s.volume(uid, nil)
	if _, err := s.Restore(s.t.Context(), transfer.RestoreRequest{
		Repository: shop(), Volume: target, SnapshotID: snapshot,
	}, ignore); err != nil {
		s.t.Fatal(err)
	}
	var found []string
	err := filepath.WalkDir(to, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		var stat unix.Stat_t
		if err := unix.Lstat(path, &stat); err != nil {
			return err
		}
		if stat.Uid == canaryID {
			found = append(found, "owner of "+path)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(path)
		if strings.Contains(string(content), "CANARY") {
			found = append(found, "content of "+path)
		}
		return err
	})
	if err := errors.Join(err, os.RemoveAll(to)); err != nil {
		s.t.Fatal(err)
	}
	return found
}

// attackBackups backs up a volume while its owner attacks, until the attack has swapped often enough, and returns what
// the snapshots have of the canary.
func attackBackups(t *testing.T, s *site, atLeast int64) []string {
	t.Helper()
	s.probe()
	volume, dir := volumeOfAttack(s, "attacker")
	outside := canary(t)
	var swaps int64
	var found []string
	for run := 0; swaps < atLeast && run < maxRuns; run++ {
		a := attack(t, dir, filepath.Join(dir, "dir"), outside)
		name := fmt.Sprintf("pvb-%d", run)
		outcome, err := s.Backup(t.Context(), transfer.BackupRequest{
			Repository: shop(), Volume: volume, Tags: map[string]string{contract.TagPodVolumeBackup: name},
		}, ignore)
		a.end()
		swaps += a.swaps.Load()
		if outcome.SnapshotID != "" {
			found = append(found, leaks(s, outcome.SnapshotID, fmt.Sprintf("look-%d", run))...)
		} else if err == nil {
			t.Error("neither a snapshot nor an error")
		}
	}
	t.Logf("%d swaps", swaps)
	if swaps < atLeast {
		t.Errorf("the attack swapped %d times, want %d", swaps, atLeast)
	}
	return found
}

// TestLinkSwapDuringBackup has the owner of a volume replace a directory with a link while restic reads it.
func TestLinkSwapDuringBackup(t *testing.T) {
	needsRoot(t)
	if found := attackBackups(t, newSite(t), minSwaps); len(found) > 0 {
		t.Errorf("snapshots contain files from outside of the volume: %d, first %v", len(found), found[:1])
	}
}

// TestLinkSwapDuringBackupWithoutSandbox shows that the attack of TestLinkSwapDuringBackup is one.
func TestLinkSwapDuringBackupWithoutSandbox(t *testing.T) {
	needsRoot(t)
	if found := attackBackups(t, newSiteWith(t, restictest.Process(t)), 1); len(found) == 0 {
		t.Error("the attack found nothing without a sandbox: it cannot prove one")
	}
}

// attackRestores restores a snapshot into a volume while its owner attacks, until the attack has swapped often enough,
// and returns what that changed outside of the volume.
func attackRestores(t *testing.T, s *site, atLeast int64) string {
	t.Helper()
	s.probe()
	source, from := volumeOfAttack(s, "source")
	for i := range filesOfAttack {
		if err := os.Chmod(filepath.Join(from, "dir", fileOfAttack(i)), 0o755|os.ModeSetuid); err != nil {
			t.Fatal(err)
		}
	}
	snapshot := s.backup(source, "pvb", nil).SnapshotID
	outside := canary(t)
	// Half of the names are free, so that a file could also be created.
	for i := range filesOfAttack / 2 {
		if err := os.Remove(filepath.Join(outside, fileOfAttack(2*i))); err != nil {
			t.Fatal(err)
		}
	}
	before := metadata(t, outside)
	var swaps int64
	for run := 0; swaps < atLeast && run < maxRuns; run++ {
		target, to := s.volume(fmt.Sprintf("target-%d", run), nil)
		if err := os.Mkdir(filepath.Join(to, "dir"), 0o777); err != nil {
			t.Fatal(err)
		}
		a := attack(t, to, filepath.Join(to, "dir"), outside)
		// What becomes of the attacker's own volume does not matter.
		_, err := s.Restore(t.Context(), transfer.RestoreRequest{
			Repository: shop(), Volume: target, SnapshotID: snapshot,
		}, ignore)
		a.end()
		swaps += a.swaps.Load()
		t.Logf("restore %d: %d swaps, error %v", run, a.swaps.Load(), err)
		if diff := cmp.Diff(before, metadata(t, outside)); diff != "" {
			return diff
		}
	}
	if swaps < atLeast {
		t.Errorf("the attack swapped %d times, want %d", swaps, atLeast)
	}
	return ""
}

// TestLinkSwapDuringRestore is TestLinkSwapDuringBackup for a restore, which could write outside of the volume.
func TestLinkSwapDuringRestore(t *testing.T) {
	needsRoot(t)
	if diff := attackRestores(t, newSite(t), minSwaps); diff != "" {
		t.Errorf("restores changed files outside of the volume (-before +after):\n%s", diff)
	}
}

// TestLinkSwapDuringRestoreWithoutSandbox shows that the attack of TestLinkSwapDuringRestore is one.
func TestLinkSwapDuringRestoreWithoutSandbox(t *testing.T) {
	needsRoot(t)
	if attackRestores(t, newSiteWith(t, restictest.Process(t)), 1) == "" {
		t.Error("the attack changed nothing without a sandbox: it cannot prove one")
	}
}

// metadata returns what a restore could change of the files in a directory, and of the directory.
func metadata(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := content(t, dir)
	for name := range found {
		var stat unix.Stat_t
		if err := unix.Lstat(filepath.Join(dir, name), &stat); err != nil {
			t.Fatal(err)
		}
		found[name] += fmt.Sprintf(" %d:%d changed %d.%d", stat.Uid, stat.Gid, stat.Ctim.Sec, stat.Ctim.Nsec)
	}
	return found
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a sandbox needs root")
	}
}
