// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package contract

// Keys of the tags on every snapshot, each written as key=value. Velero <= 1.16 wrote the first seven
// (release-1.16, pkg/podvolume/backupper.go), so its snapshots can be found, be parents and be restored.
const (
	TagBackup    = "backup"
	TagBackupUID = "backup-uid"
	TagPod       = "pod"
	TagPodUID    = "pod-uid"
	TagNamespace = "ns"
	TagVolume    = "volume"
	TagPVCUID    = "pvc-uid"
	// TagPodVolumeBackup names the PodVolumeBackup that took the snapshot, so that a repeated attempt finds the
	// snapshot that an earlier one has finished.
	TagPodVolumeBackup = "pod-volume-backup"
	// TagCluster is the UID of namespace kube-system in the cluster that took the snapshot, which is what Kubernetes
	// has for an ID of a cluster. Only that cluster may take the snapshot for an orphan.
	TagCluster = "cluster"
	// TagVeleroNamespace is Velero's namespace in that cluster: a cluster may have several Velero installations, and
	// each knows its own backups only.
	TagVeleroNamespace = "velero-namespace"
	// TagPVC names the claim, for people who read `restic snapshots`.
	TagPVC = "pvc"
	// TagEmpty, with value "true", marks the snapshot of a volume without any file. restic refuses an empty snapshot,
	// so it holds the volume's path instead, and a restore must not unpack it.
	TagEmpty = "empty"
	// The attributes of the volume's root directory, which a snapshot of its content leaves out: permissions in octal,
	// owner and group as numbers, modification time in RFC 3339, extended attributes as base64 of a JSON object whose
	// values are base64 again.
	TagRootMode   = "root-mode"
	TagRootUID    = "root-uid"
	TagRootGID    = "root-gid"
	TagRootTime   = "root-mtime"
	TagRootXattrs = "root-xattrs"
)

// SnapshotTags says whose data a snapshot holds.
type SnapshotTags struct {
	Backup, BackupUID string
	Pod, PodUID       string
	Namespace, Volume string
	PVC, PVCUID       string // empty for a volume that is no claim's
	PodVolumeBackup   string
}

// Map returns the tags by key, without the empty ones.
func (t SnapshotTags) Map() map[string]string {
	tags := map[string]string{
		TagBackup: t.Backup, TagBackupUID: t.BackupUID, TagPod: t.Pod, TagPodUID: t.PodUID,
		TagNamespace: t.Namespace, TagVolume: t.Volume, TagPVC: t.PVC, TagPVCUID: t.PVCUID,
		TagPodVolumeBackup: t.PodVolumeBackup,
	}
	for key, value := range tags {
		if value == "" {
			delete(tags, key)
		}
	}
	return tags
}

// RestoreSelector returns the tags by which the snapshot of a volume is found when nothing but the pod in the backup
// is left to tell of it.
func RestoreSelector(backupUID, podUID, volume string) map[string]string {
	return map[string]string{TagBackupUID: backupUID, TagPodUID: podUID, TagVolume: volume}
}
