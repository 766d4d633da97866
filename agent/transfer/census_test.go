// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer_test

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"

	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/restictest"
)

// byHand calls restic for the shop's repository as a person would.
func (s *site) byHand(dir string, args ...string) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), restictest.Binary(s.t), append(args, "--no-cache", "--quiet")...)
	cmd.Dir = dir
	cmd.Env = []string{"RESTIC_REPOSITORY=" + filepath.Join(s.bucket, "shop"), "RESTIC_PASSWORD=correct horse"}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("restic %v: %v: %s", args, err, said.String())
	}
}

// TestCensus tells this cluster's snapshots from all those that it must leave alone.
func TestCensus(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Cluster = "here"
	s.probe()
	source, dir := s.volume("pod-1", map[string]string{"a": "content"})
	of := func(backup string) func(*transfer.BackupRequest) {
		return func(r *transfer.BackupRequest) {
			r.Tags[contract.TagBackup], r.Tags[contract.TagBackupUID] = backup, "uid-of-"+backup
			r.Tags[contract.TagPod], r.Tags[contract.TagVolume] = "web", "data"
		}
	}
	own := s.backup(source, "pvb-1", of("nightly"))
	s.backup(source, "without-tags-of-a-backup", nil)
	pinned := s.backup(source, "pvb-2", of("pinned"))
	s.byHand("", "tag", "--add=keep", pinned.SnapshotID)
	s.byHand(dir, "backup", ".", "--host=velero", "--tag=backup=by-hand", "--tag=backup-uid=x",
		"--tag=pod-volume-backup=y", "--tag=cluster=here")
	s.byHand(dir, "backup", ".", "--host=velero", "--tag=backup=of another Velero", "--tag=backup-uid=x",
		"--tag=pod-volume-backup=y", "--tag=cluster=here", "--tag=velero-namespace=other-velero")
	s.byHand(dir, "backup", ".", "--tag=mine")
	there := *s.Mover
	there.Cluster = "there"
	elsewhere := *s
	elsewhere.Mover = &there
	elsewhere.backup(source, "pvb-3", of("of another cluster"))

	got, err := s.Census(t.Context(), shop())
	if err != nil {
		t.Fatal(err)
	}
	want := transfer.Census{
		Own: []transfer.OwnSnapshot{{
			ID: own.SnapshotID, Backup: "nightly", BackupUID: "uid-of-nightly", PodVolumeBackup: "pvb-1", Pod: "web",
			Volume: "data",
		}},
		OtherClusters: []string{"there"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the census differs (-want +got):\n%s", diff)
	}
	s.setReadOnly()
	if got, err := s.Census(t.Context(), shop()); err != nil || len(got.Own) != 1 {
		t.Errorf("of a read-only location: %+v, %v", got, err)
	}
	if none, err := (&transfer.Mover{Opener: s.Opener, Clock: clock.RealClock{}}).Census(t.Context(), shop()); err != nil || len(none.Own) != 0 {
		t.Errorf("a cluster without an ID owns %+v, %v", none.Own, err)
	}
}
