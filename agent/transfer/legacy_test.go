// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"k8s.io/utils/clock"

	"github.com/velero-restic/velero-plugin-for-restic/agent/hostpath"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/restictest"
)

const legacyClaim = "7d1c0a55-claim"

// legacyRestic calls restic for the shop's repository with the password that Velero <= 1.16 gave to all.
func (s *site) legacyRestic(dir string, args ...string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), restictest.Binary(s.t), append(args, "--no-cache", "--quiet")...)
	cmd.Dir = dir
	cmd.Env = []string{"RESTIC_REPOSITORY=" + filepath.Join(s.bucket, "shop"), "RESTIC_PASSWORD=" + staticPassword}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("restic %v: %v: %s", args, err, said.String())
	}
}

// legacyBackup makes the repository, in the format that restic had until 0.14, and a snapshot in it as Velero <= 1.16
// did (release-1.16, pkg/podvolume/backupper.go and pkg/restic/command_factory.go: in the volume's folder, of ".").
func (s *site) legacyBackup(dir string) {
	s.t.Helper()
	s.legacyRestic("", "init", "--repository-version=1")
	args := []string{"backup", ".", "--host=velero"}
	for _, tag := range []string{
		"backup=nightly", "backup-uid=old-backup", "pod=web-old", "pod-uid=old-pod", "ns=shop", "volume=data",
		"pvc-uid=" + legacyClaim,
	} {
		args = append(args, "--tag="+tag)
	}
	s.legacyRestic(dir, args...)
}

func ofClaim(claim string) func(*transfer.BackupRequest) {
	return func(r *transfer.BackupRequest) {
		r.Tags[contract.TagPVCUID] = claim
		r.Tags[contract.TagBackupUID], r.Tags[contract.TagPodUID], r.Tags[contract.TagVolume] = "backup-1", "pod-1", "data"
	}
}

// TestLegacyRepository goes on with a repository of Velero <= 1.16: its password, its format, its snapshots.
func TestLegacyRepository(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	secret := passwordSecret(contract.PasswordSecretLegacy, staticPassword)
	if err := s.cluster.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	if err := s.cluster.Delete(t.Context(), passwordSecret(contract.PasswordSecret, "")); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"a": "content", "folder/b": "more"}
	source, dir := s.volume("pod-1", files)
	s.legacyBackup(dir)
	var legacy string
	for id := range s.snapshots() {
		legacy = id
	}
	// No new repository is made with this password, but one that is there is used.
	if got, err := s.Probe(t.Context(), transfer.ProbeRequest{Repository: shop()}, nil); err != nil || got.Made {
		t.Fatalf("opening it gave %+v, %v", got, err)
	}
	taken := s.backup(source, "pvb-1", ofClaim(legacyClaim))
	if taken.Parent != legacy || taken.Summary.FilesNew != 0 || taken.Summary.FilesUnmodified != 2 {
		t.Errorf("the parent is %q, want %q; %+v", taken.Parent, legacy, taken.Summary)
	}
	s.wantRestored(transfer.RestoreRequest{SnapshotID: taken.SnapshotID}, files)
	s.wantRestored(transfer.RestoreRequest{
		SnapshotTags: contract.RestoreSelector("old-backup", "old-pod", "data"),
	}, files)
	s.legacyRestic("", "check", "--read-data")
}

// wantRestored restores a snapshot of the shop and looks for the files.
func (s *site) wantRestored(request transfer.RestoreRequest, files map[string]string) {
	s.t.Helper()
	target, to := s.volume("restored-"+request.SnapshotID, nil)
	request.Repository, request.Volume = shop(), target
	if _, err := s.Restore(s.t.Context(), request, ignore); err != nil {
		s.t.Fatal(err)
	}
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(got) != want {
			s.t.Errorf("%s is %q, %v, want %q", name, got, err, want)
		}
	}
}

// TestParentByTags takes a claim again that this node has never seen, with nothing known in the cluster.
func TestParentByTags(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.probe()
	files := map[string]string{"a": "content"}
	source, _ := s.volume("pod-1", files)
	first := s.backup(source, "pvb-1", ofClaim("claim-1"))
	other, _ := s.volume("pod-2", map[string]string{"a": "other"})
	s.backup(other, "pvb-2", ofClaim("claim-2"))

	elsewhere := t.TempDir() // another node: its own folders, nothing in its cache
	node := *s
	opener := *s.Opener
	opener.ScratchDir = filepath.Join(elsewhere, "scratch")
	node.pods = filepath.Join(elsewhere, "pods")
	node.Mover = &transfer.Mover{Opener: &opener, Finder: hostpath.Finder{Root: node.pods}, Cluster: "rebuilt", Clock: clock.RealClock{}}
	moved, _ := node.volume("pod-3", files)
	again := node.backup(moved, "pvb-3", ofClaim("claim-1"))
	if again.Parent != first.SnapshotID || again.Summary.FilesNew != 0 {
		t.Errorf("the parent is %q, want %q; %+v", again.Parent, first.SnapshotID, again.Summary)
	}
	fresh, _ := node.volume("pod-4", files)
	if got := node.backup(fresh, "pvb-4", ofClaim("claim-3")); got.Parent != "" || got.Summary.FilesNew != 1 {
		t.Errorf("another claim's parent is %q, %+v", got.Parent, got.Summary)
	}
	unclaimed := func(*transfer.BackupRequest) {}
	if got := node.backup(moved, "pvb-5", unclaimed); got.Parent != "" {
		t.Errorf("the parent of a volume without a claim is %q", got.Parent)
	}
	gone := func(r *transfer.BackupRequest) {
		ofClaim("claim-4")(r)
		r.Parent = first.SnapshotID[:32] + again.SnapshotID[:32]
	}
	if got := node.backup(moved, "pvb-6", gone); got.Parent != "" || len(got.SnapshotID) != 64 {
		t.Errorf("with a parent that is gone: %+v", got)
	}
}
