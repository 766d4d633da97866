// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/snapshotlist"
)

// list asks for the snapshots.
func (s *site) list() (transfer.MaintainOutcome, string) {
	s.t.Helper()
	var log bytes.Buffer
	outcome := s.maintain(transfer.MaintainRequest{Operation: resticv1.OperationSnapshots, List: &log})
	return outcome, log.String()
}

func TestListing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.probe()
	first, firstDir := s.volume("pod-1", map[string]string{"a": "content", "b": "more"})
	owner := contract.SnapshotTags{
		Backup: "nightly", BackupUID: "uid-of-backup", Namespace: "shop", Pod: "web-pod-1", PodUID: "pod-1",
		Volume: "data", PVC: "claim", PVCUID: "uid-of-claim", PodVolumeBackup: "pvb-1",
	}
	full := s.backup(first, "pvb-1", func(r *transfer.BackupRequest) { r.Tags = owner.Map() })
	second, _ := s.volume("pod-2", nil)
	empty := s.backup(second, "pvb-2", func(r *transfer.BackupRequest) { r.Tags["mine"] = "x" })
	other := s.leaveLock(false) // somebody works on it
	locks := s.lockNames()
	s.setReadOnly()

	outcome, log := s.list()
	if outcome.Result != resticv1.MaintenanceSucceeded || outcome.Message != "listed 2 of 2 snapshots" {
		t.Errorf("got %+v", outcome)
	}
	got, err := snapshotlist.Read(strings.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	want := []snapshotlist.Snapshot{
		{
			ID: empty.SnapshotID, Hostname: contract.Host, Empty: true, Tags: []string{"mine=x"},
			Paths: []string{filepath.Join(s.pods, "pod-2", "volumes", "kubernetes.io~empty-dir", "data")},
			Size:  &snapshotlist.Size{},
		},
		{
			ID: full.SnapshotID, Hostname: contract.Host, Backup: "nightly", BackupUID: "uid-of-backup",
			Namespace: "shop", Pod: "web-pod-1", PodUID: "pod-1", Volume: "data", PVC: "claim", PVCUID: "uid-of-claim",
			Paths: []string{firstDir}, Size: &snapshotlist.Size{Files: 2, Bytes: 11},
		},
	}
	ignoring := cmp.Options{
		cmpopts.IgnoreFields(snapshotlist.Snapshot{}, "Time"),
		cmpopts.IgnoreFields(snapshotlist.Size{}, "BytesAdded", "BytesStored"),
	}
	if diff := cmp.Diff(want, got, ignoring); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
	if got[1].Size.BytesAdded < 11 || got[1].Size.BytesStored == 0 || got[0].Time.Before(got[1].Time) {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff(locks, s.lockNames()); diff != "" {
		t.Errorf("the locks are others:\n%s", diff)
	}
	_ = other.Process.Kill()
	_ = other.Wait() // killed
}

func (s *site) lockNames() []string {
	s.t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.bucket, "shop", "locks"))
	if err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// TestListingThatIsNotWhole lists what can be read, and says what cannot.
func TestListingThatIsNotWhole(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.probe()
	volume, _ := s.volume("pod-1", map[string]string{"a": "content"})
	kept, damaged := s.backup(volume, "pvb-1", nil), s.backup(volume, "pvb-2", nil)
	if err := os.Truncate(filepath.Join(s.bucket, "shop", "snapshots", damaged.SnapshotID), 50); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(s.scratch); err != nil { // a Job has no cache
		t.Fatal(err)
	}
	outcome, log := s.list()
	if outcome.Result != resticv1.MaintenanceSucceeded || !strings.Contains(outcome.Message, "1 more cannot be read") {
		t.Errorf("got %+v", outcome)
	}
	got, err := snapshotlist.Read(strings.NewReader(log))
	var partial *snapshotlist.PartialError
	if !errors.As(err, &partial) || partial.Unreadable != 1 || len(got) != 1 || got[0].ID != kept.SnapshotID {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestListingThatCannotBe(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		prepare func(s *site)
		says    string
	}{
		"with a wrong password":   {func(s *site) { s.setPassword("wrong") }, "does not open"},
		"of a missing repository": {func(s *site) { _ = os.RemoveAll(filepath.Join(s.bucket, "shop")) }, "exist"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.probe()
			c.prepare(s)
			outcome, log := s.list()
			if outcome.Result != resticv1.MaintenanceFailed || !strings.Contains(outcome.Message, c.says) {
				t.Errorf("got %+v", outcome)
			}
			if _, err := snapshotlist.Read(strings.NewReader(log)); !errors.Is(err, snapshotlist.ErrCut) {
				t.Errorf("the log reads as a list: %q, %v", log, err)
			}
		})
	}
}
