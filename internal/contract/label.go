// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package contract

// docs/reference/labels.md is generated from the comments of this file.

// Labels on custom resources. PodVolumeBackups, PodVolumeRestores and ResticRepositories have those that apply. The
// keys are those of Velero's own objects (velero v1.18.3, pkg/apis/velero/v1/labels_annotations.go), so that selectors
// such as `-l velero.io/backup-name=X` work. Values of more than 63 bytes are shortened in the way of Velero.
const (
	// LabelBackupName: name of the Velero backup.
	LabelBackupName = "velero.io/backup-name"
	// LabelBackupUID: UID of the Velero backup.
	LabelBackupUID = "velero.io/backup-uid"
	// LabelRestoreName: name of the Velero restore.
	LabelRestoreName = "velero.io/restore-name"
	// LabelRestoreUID: UID of the Velero restore.
	LabelRestoreUID = "velero.io/restore-uid"
	// LabelPodUID: UID of the pod that was backed up.
	LabelPodUID = "velero.io/pod-uid"
	// LabelPVCUID: UID of the claim that was backed up.
	LabelPVCUID = "velero.io/pvc-uid"
	// LabelStorageLocation: name of the BackupStorageLocation.
	LabelStorageLocation = "velero.io/storage-location"
	// LabelVolumeNamespace: namespace of the volume, which is that of its repository.
	LabelVolumeNamespace = "velero.io/volume-namespace"
	// LabelExcludeFromBackup: "true" keeps the object out of Velero's backups. On a claim, it also keeps its data out,
	// unless an annotation or a volume policy names the volume.
	LabelExcludeFromBackup = "velero.io/exclude-from-backup"
)

// Labels on PersistentVolumeClaims.
const (
	// LabelClaimed: "true" on a claim whose data this project backs up. The base volume policy in examples/base matches
	// it and so makes Velero's core leave the volume alone. The plugin sets and removes it.
	LabelClaimed = "restic.velero.io/backup"
)

// Labels on maintenance Jobs. Their pods have them, too, beside `velero.io/exclude-from-backup`.
const (
	// LabelRepositoryUID: UID of the ResticRepository.
	LabelRepositoryUID = "restic.velero.io/repository-uid"
	// LabelRepository: name of the ResticRepository.
	LabelRepository = "restic.velero.io/repository"
	// LabelOperation: the operation in lower case: check, prune, unlock or snapshots.
	LabelOperation = "restic.velero.io/operation"
)

// Labels and annotations on Leases. Each agent publishes its versions in a Lease in Velero's namespace. The Lease has
// the name of the agent's pod, and is deleted with that pod. Its holder is the node.
const (
	// LabelAgent: selects these Leases.
	LabelAgent = "restic.velero.io/agent"
	// AnnotationVersion: version of the agent, such as v0.1.0.
	AnnotationVersion = "restic.velero.io/version"
	// AnnotationResticVersion: version of its restic, such as 0.19.1.
	AnnotationResticVersion = "restic.velero.io/restic-version"
)

// Labels on ConfigMaps of the plugin. The plugin finds its ConfigMaps in Velero's namespace by both labels
// (velero v1.18.3, pkg/plugin/framework/common/plugin_config.go).
const (
	// LabelPluginConfig: marks a ConfigMap as the configuration of a plugin. Any value works.
	LabelPluginConfig = "velero.io/plugin-config"
	// LabelPluginName: the kind of action that the ConfigMap configures: RestoreItemAction for the init container of
	// restored pods, BackupItemAction for the rules that select volumes.
	LabelPluginName = "velero.io/restic"
)

// Annotations on pods.
const (
	// AnnotationVolumesToBackup: comma-separated names of the volumes to back up. Users set it.
	AnnotationVolumesToBackup = "backup.velero.io/backup-volumes"
	// AnnotationVolumesToExclude: comma-separated names of the volumes not to back up by default. Users set it.
	AnnotationVolumesToExclude = "backup.velero.io/backup-volumes-excludes"
	// AnnotationVolumesByRule: the value that the leader wrote into backup.velero.io/backup-volumes because of rules.
	// While both are equal, the rules own the value; otherwise a person does.
	AnnotationVolumesByRule = "restic.velero.io/backup-volumes-by-rule"
	// AnnotationTaken: only on the copy of the pod in a backup, the volumes that were backed up, as PodNote encodes
	// them.
	AnnotationTaken = "restic.velero.io/volumes"
)

// Annotations on PersistentVolumeClaims and PersistentVolumes.
const (
	// AnnotationClaimIgnored: "true" on a claim that needs no backup, so that coverage does not report it. The key is
	// that of velero-pvc-watcher. Users set it.
	AnnotationClaimIgnored = "backup.velero.io/backup-excluded"
	// AnnotationReprovision: only on the copy in a backup, the name of the backup, for a claim or volume whose data
	// restic restores. The restore binds the claim to a new volume.
	AnnotationReprovision = "restic.velero.io/reprovision"
)

// Annotations on PodVolumeBackups.
const (
	// AnnotationPVCName: name of the claim behind the volume. Velero up to 1.16 used the same key.
	AnnotationPVCName = "velero.io/pvc-name"
	// AnnotationRule: name of the rule that selected the volume.
	AnnotationRule = "restic.velero.io/rule"
)

// Annotations on BackupStorageLocations.
const (
	// AnnotationSetting: followed by the name of a setting of this project, such as resticRepoPrefix. It replaces the
	// key of that name in spec.config where the provider's plugin refuses unknown keys, as those of AWS, Azure and
	// Google Cloud do.
	AnnotationSetting = "restic.velero.io/"
)
