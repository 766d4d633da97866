// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// OwnSnapshot is a snapshot that this cluster's agents made for a backup of this Velero, and that nobody has changed.
type OwnSnapshot struct {
	// ID is its full ID.
	ID string
	// Backup and BackupUID name the Velero backup.
	Backup, BackupUID string
	// PodVolumeBackup is the name of the object that took it.
	PodVolumeBackup string
	// Pod and Volume say what it is of.
	Pod, Volume string
}

// Census is what is in a repository.
type Census struct {
	// Own are the snapshots of this cluster.
	Own []OwnSnapshot
	// OtherClusters are the IDs of the other clusters that have snapshots in the repository, sorted.
	OtherClusters []string
}

// Census lists the snapshots of a repository by whose they are. Errors are those of session.Opener.Open and
// restic.Client.Snapshots.
func (m *Mover) Census(ctx context.Context, repository Repository) (Census, error) {
	var census Census
	err := m.withSession(ctx, repository, func(opened *session.Session) error {
		snapshots, err := opened.Snapshots(ctx, nil)
		if err != nil {
			return fmt.Errorf("looking for orphans: %w", err)
		}
		others := map[string]struct{}{}
		for i := range snapshots {
			if m.owns(&snapshots[i]) {
				census.Own = append(census.Own, ownSnapshot(&snapshots[i]))
			}
			if other := snapshots[i].Tags[contract.TagCluster]; other != "" && other != m.Cluster {
				others[other] = struct{}{}
			}
		}
		census.OtherClusters = slices.Sorted(maps.Keys(others))
		return nil
	})
	return census, err
}

// owns says whether a snapshot is this Velero's and nobody else's: neither without our tags, nor from another cluster,
// nor copied or tagged anew by a person, which restic remembers as the original.
func (m *Mover) owns(snapshot *restic.Snapshot) bool {
	tags := snapshot.Tags
	return m.Cluster != "" && tags[contract.TagCluster] == m.Cluster &&
		tags[contract.TagVeleroNamespace] == m.Opener.Namespace && snapshot.Hostname == contract.Host &&
		tags[contract.TagPodVolumeBackup] != "" && tags[contract.TagBackup] != "" &&
		tags[contract.TagBackupUID] != "" && snapshot.Original == ""
}

func ownSnapshot(snapshot *restic.Snapshot) OwnSnapshot {
	tags := snapshot.Tags
	return OwnSnapshot{
		ID: snapshot.ID, Backup: tags[contract.TagBackup], BackupUID: tags[contract.TagBackupUID],
		PodVolumeBackup: tags[contract.TagPodVolumeBackup],
		Pod:             tags[contract.TagPod], Volume: tags[contract.TagVolume],
	}
}
