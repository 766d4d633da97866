// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

func TestProbeToRestore(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	request := transfer.ProbeRequest{Repository: shop(), OpenOnly: true}
	_, err := s.Probe(t.Context(), request, nil)
	wantNotUsable(t, err, "there is no repository at "+filepath.Join(s.bucket, "shop"), "namespace shop",
		"BackupStorageLocation "+locationName, "resticRepoPrefix")
	if _, err := os.Stat(filepath.Join(s.bucket, "shop")); err == nil {
		t.Fatal("a repository was made for a restore")
	}
	made := s.probe()
	if got, err := s.Probe(t.Context(), request, nil); err != nil || got.Made || got.ID != made.ID {
		t.Errorf("the repository that is there gave %+v, %v", got, err)
	}
}

// TestProbeOfDamagedRepository opens what is left when two clusters make a repository at the same moment: the keys of
// both, and the configuration of the one that was later.
func TestProbeOfDamagedRepository(t *testing.T) {
	t.Parallel()
	s, other := newSite(t), newSite(t)
	made := s.probe()
	other.probe()
	config, err := os.ReadFile(filepath.Join(other.bucket, "shop", "config"))
	if err != nil {
		t.Fatal(err)
	}
	place := filepath.Join(s.bucket, "shop", "config")
	if err := errors.Join(os.Chmod(place, 0o600), os.WriteFile(place, config, 0o600)); err != nil {
		t.Fatal(err)
	}
	_, err = s.Probe(t.Context(), transfer.ProbeRequest{Repository: shop()}, nil)
	wantNotUsable(t, err, filepath.Join(s.bucket, "shop"), "do not fit each other", "at the same moment",
		"remove its folder from the bucket")
	_, err = s.Probe(t.Context(), transfer.ProbeRequest{Repository: shop(), KnownID: made.ID}, nil)
	wantNotUsable(t, err, filepath.Join(s.bucket, "shop"), made.ID[:8], "from a copy of the bucket")
}

func TestSnapshotsNameTheirCluster(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.Cluster = "cluster-1"
	s.probe()
	for name, files := range map[string]map[string]string{"full": {"a": "content"}, "empty": nil} {
		source, _ := s.volume(name, files)
		taken := s.backup(source, name, nil)
		tags := s.snapshots()[taken.SnapshotID].Tags
		if tags[contract.TagCluster] != "cluster-1" || tags[contract.TagVeleroNamespace] != veleroNamespace {
			t.Errorf("the snapshot of the %s volume has the tags %v", name, tags)
		}
	}
}
