// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
	"github.com/velero-restic/velero-plugin-for-restic/internal/snapshotlist"
)

// list writes the repository's snapshots for people to read, and takes no lock for it.
func list(ctx context.Context, repository *session.Session, to io.Writer) (message string, err error) {
	snapshots, unreadable, err := repository.ViewSnapshots(ctx)
	if err == nil && unreadable > 0 {
		// One that was removed between restic's two looks at it cannot be read either: it is not there the next time.
		snapshots, unreadable, err = repository.ViewSnapshots(ctx)
	}
	if err != nil {
		return "", err
	}
	listed := make([]snapshotlist.Snapshot, 0, len(snapshots))
	for i := range snapshots {
		listed = append(listed, listedSnapshot(&snapshots[i]))
	}
	leftOut, err := snapshotlist.Write(to, listed, unreadable)
	if err != nil {
		return "", err
	}
	message = fmt.Sprintf("listed %d of %d snapshots", len(listed)-leftOut, len(listed)+unreadable)
	if leftOut > 0 {
		message += fmt.Sprintf("; the %d oldest are left out, more than a log takes", leftOut)
	}
	if unreadable > 0 {
		message += fmt.Sprintf("; %d more cannot be read: ask for a check", unreadable)
	}
	return message, nil
}

// listedSnapshot returns what people want to know of a snapshot. Of the tags, those that only a restore needs are left
// out.
func listedSnapshot(snapshot *restic.Snapshot) snapshotlist.Snapshot {
	tags := snapshot.Tags
	listed := snapshotlist.Snapshot{
		ID: snapshot.ID, Time: snapshot.Time, Hostname: snapshot.Hostname, Paths: snapshot.Paths,
		Backup: tags[contract.TagBackup], BackupUID: tags[contract.TagBackupUID],
		Namespace: tags[contract.TagNamespace], Pod: tags[contract.TagPod], PodUID: tags[contract.TagPodUID],
		Volume: tags[contract.TagVolume], PVC: tags[contract.TagPVC], PVCUID: tags[contract.TagPVCUID],
		Empty: tags[contract.TagEmpty] == "true", Cluster: tags[contract.TagCluster],
	}
	for _, tag := range snapshot.RawTags {
		if key, _, pair := strings.Cut(tag, "="); !pair || !ownTag(key) {
			listed.Tags = append(listed.Tags, tag)
		}
	}
	if summary := snapshot.Summary; summary != nil {
		listed.Size = &snapshotlist.Size{
			Files: summary.TotalFilesProcessed, Bytes: summary.TotalBytesProcessed,
			BytesAdded: summary.DataAdded, BytesStored: summary.DataAddedPacked,
		}
	}
	return listed
}

// ownTag says whether the key is one of those in the contract.
func ownTag(key string) bool {
	switch key {
	case contract.TagBackup, contract.TagBackupUID, contract.TagPod, contract.TagPodUID, contract.TagNamespace,
		contract.TagVolume, contract.TagPVC, contract.TagPVCUID, contract.TagPodVolumeBackup, contract.TagCluster,
		contract.TagVeleroNamespace, contract.TagEmpty, contract.TagRootMode, contract.TagRootUID,
		contract.TagRootGID, contract.TagRootTime, contract.TagRootXattrs:
		return true
	}
	return false
}
