// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package contract holds every name that two of the project's processes share, with the functions that write and
// read them. The plugin, the agent, the restore helper and the CLI meet only here and in the API server, so a name
// that changes on one side only breaks a backup. It imports the standard library alone: the helper is built from it.
package contract

// Labels on the project's custom resources. The velero.io ones carry the names that Velero gives to its own objects
// (velero v1.18.3, pkg/apis/velero/v1/labels_annotations.go), so that `kubectl get … -l velero.io/backup-name=X`
// works as its documentation says. Values are shortened by LabelValue.
const (
	LabelBackupName        = "velero.io/backup-name"
	LabelBackupUID         = "velero.io/backup-uid"
	LabelRestoreName       = "velero.io/restore-name"
	LabelRestoreUID        = "velero.io/restore-uid"
	LabelPodUID            = "velero.io/pod-uid"
	LabelPVCUID            = "velero.io/pvc-uid"
	LabelStorageLocation   = "velero.io/storage-location"
	LabelVolumeNamespace   = "velero.io/volume-namespace"
	LabelExcludeFromBackup = "velero.io/exclude-from-backup"
)

// AnnotationPVCName on a PodVolumeBackup holds the name of the claim behind the volume, for people. Velero <= 1.16
// wrote the same key.
const AnnotationPVCName = "velero.io/pvc-name"

// Annotations that users put on pods to choose volumes, as comma-separated names of volumes of the pod.
const (
	AnnotationVolumesToBackup  = "backup.velero.io/backup-volumes"
	AnnotationVolumesToExclude = "backup.velero.io/backup-volumes-excludes"
)

// AnnotationVolumesByRule, on a pod, holds the value that the leader has given AnnotationVolumesToBackup for the sake
// of rules. As long as the two are equal the names are the rules'; else a person has written them.
const AnnotationVolumesByRule = "restic.velero.io/backup-volumes-by-rule"

// AnnotationRule, on a PodVolumeBackup, names the rule that selected the volume.
const AnnotationRule = "restic.velero.io/rule"

// AnnotationClaimIgnored on a PersistentVolumeClaim, with value "true", says that nobody misses its backup. The key is
// that of velero-pvc-watcher.
const AnnotationClaimIgnored = "backup.velero.io/backup-excluded"

// LabelClaimed, with value "true", is put on a PersistentVolumeClaim whose data this project takes. The base volume
// policy in examples/base matches it and so makes Velero's core leave the volume alone.
const LabelClaimed = "restic.velero.io/backup"

// BasePolicyTypes are the types of volumes without a claim that the base volume policy matches, as it names them:
// Velero's core leaves volumes of these to this project, and no others.
func BasePolicyTypes() []string {
	return []string{"emptyDir", "ephemeral", "nfs", "cephfs", "glusterfs"}
}

// AnnotationTaken is the note, in the backup's copy of a pod, of which volumes were taken: see PodNote.
const AnnotationTaken = "restic.velero.io/volumes"

// AnnotationReprovision, on the backup's copy of a PersistentVolumeClaim or PersistentVolume, says that its content
// comes back through restic: the claim must be bound to a fresh volume, not to the one that it had.
// The value is the name of the backup that wrote it.
const AnnotationReprovision = "restic.velero.io/reprovision"

// FinalizerForget keeps a PodVolumeBackup whose snapshot must still be forgotten.
const FinalizerForget = "restic.velero.io/forget"

// AnnotationSetting, followed by the name of a setting of this project, gives a BackupStorageLocation that setting
// where the provider's plugin takes no foreign keys in spec.config, as those of AWS, Azure and Google Cloud do not.
const AnnotationSetting = "restic.velero.io/"

// The DaemonSet's fixed names. The labels are those of Velero <= 1.9, which users' scripts know.
const (
	DaemonSetName      = "restic"
	AgentLabelKey      = "name"
	AgentLabelValue    = "restic"
	LeaderLeaseName    = "velero-restic-leader"
	DefaultHostPodsDir = "/host_pods"
)

// An agent says which build it is in a Lease in Velero's namespace, which has its pod's name and goes with its pod:
// by this label they are found, and by these annotations they tell the version of the product, such as v0.1.0, and of
// restic, such as 0.19.1. The Lease's holder is the node.
const (
	LabelAgent              = "restic.velero.io/agent"
	AnnotationVersion       = "restic.velero.io/version"
	AnnotationResticVersion = "restic.velero.io/restic-version"
)

// MaintenanceConfigMap is the default name of the ConfigMap in Velero's namespace that says how maintenance runs.
const MaintenanceConfigMap = "velero-restic-maintenance"

// Labels on the Jobs and pods that maintain a repository, beside velero.io/exclude-from-backup: the UID of its
// ResticRepository, the object's name, and the operation in lower case.
const (
	LabelRepositoryUID = "restic.velero.io/repository-uid"
	LabelRepository    = "restic.velero.io/repository"
	LabelOperation     = "restic.velero.io/operation"
)

// Secrets that hold the password of the repositories, in the order in which they are looked for, and their key.
const (
	PasswordSecret       = "velero-restic-credentials" //nolint:gosec // the name of a Secret, not its content
	PasswordSecretLegacy = "velero-repo-credentials"   //nolint:gosec // the name of a Secret, not its content
	PasswordSecretKey    = "repository-password"
)

// Labels that identify the plugin's configuration among the ConfigMaps in Velero's namespace. The second one's key is
// the name of the plugin, its value the kind (velero v1.18.3, pkg/plugin/framework/common/plugin_config.go).
const (
	LabelPluginConfig = "velero.io/plugin-config"
	LabelPluginName   = "velero.io/restic"
	PluginKindRestore = "RestoreItemAction"
	// PluginKindBackup is the kind of the ConfigMap with the rules that select volumes.
	PluginKindBackup = "BackupItemAction"
)

// PluginPrefix starts the name of every action that the plugin registers.
const PluginPrefix = "velero.io/restic"

// Host is the host name in every snapshot, as Velero <= 1.16 set it (pkg/restic/command_factory.go), so that
// snapshots from before and from any node belong to one line.
const Host = "velero"

// VeleroDeployment is the name that `velero install` gives to the Deployment of Velero's server.
const VeleroDeployment = "velero"

// AdmissionPolicy is the name of the MutatingAdmissionPolicy of examples/base, and of its binding.
const AdmissionPolicy = "velero-restic-volume-policy"
