// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/snapshotlist"
)

func TestListWithLock(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	if _, err := s.Probe(t.Context(), transfer.ProbeRequest{Repository: shop()}, nil); err != nil {
		t.Fatal(err)
	}
	volume, _ := s.volume("pod-1", map[string]string{"a": "content"})
	made := s.backup(volume, "pvb-1", nil)
	s.leaveLock(false)
	locks := func() int {
		entries, err := os.ReadDir(filepath.Join(s.bucket, "shop", "locks"))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := locks()
	var log bytes.Buffer
	outcome := s.maintain(transfer.MaintainRequest{Operation: resticv1.OperationSnapshots, List: &log})
	if outcome.Result != resticv1.MaintenanceSucceeded || outcome.Message != "listed 1 of 1 snapshots" {
		t.Fatalf("got %+v", outcome)
	}
	listed, err := snapshotlist.Read(&log)
	if err != nil || len(listed) != 1 {
		t.Fatalf("read %+v, %v", listed, err)
	}
	got := listed[0]
	if got.ID != made.SnapshotID || got.Size == nil || got.Size.Bytes != int64(len("content")) || got.Hostname != contract.Host {
		t.Errorf("listed %+v, want %s with the volume's size", got, made.SnapshotID)
	}
	if after := locks(); after != before {
		t.Errorf("%d locks before, %d after", before, after)
	}
}
