// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package v1

// Reasons of Events of type Normal. docs/reference/events.md is generated from these comments.
const (
	// ReasonStarted: the agent started the transfer. On the PodVolumeBackup or PodVolumeRestore, and on its pod.
	ReasonStarted = "Started"
	// ReasonCompleted: the transfer succeeded. On the PodVolumeBackup or PodVolumeRestore, and on its pod.
	ReasonCompleted = "Completed"
	// ReasonRepositoryReady: the repository opens with its password, or was created. On the ResticRepository.
	ReasonRepositoryReady = "RepositoryReady"
	// ReasonMaintenanceStarted: a check, prune, unlock or list starts, with its Job. On the ResticRepository.
	ReasonMaintenanceStarted = "MaintenanceStarted"
	// ReasonMaintained: maintenance succeeded, with what it freed or found. On the ResticRepository.
	ReasonMaintained = "Maintained"
	// ReasonUnlocked: no lock blocks an operation any more. On the ResticRepository.
	ReasonUnlocked = "Unlocked"
	// ReasonOrphansSwept: snapshots of backups that no longer exist were removed. On the ResticRepository.
	ReasonOrphansSwept = "OrphansSwept"
	// ReasonSharedRepository: another cluster has snapshots in the repository. On the ResticRepository.
	ReasonSharedRepository = "SharedRepository"
	// ReasonForgotten: the snapshot of a deleted backup was removed from the repository. On the PodVolumeBackup.
	ReasonForgotten = "SnapshotForgotten"
)

// Reasons of Events of type Warning. docs/reference/events.md is generated from these comments.
const (
	// ReasonCompletedWarnings: the transfer succeeded, with the number of warnings and the first of them. On the
	// PodVolumeBackup or PodVolumeRestore, and on its pod.
	ReasonCompletedWarnings = "CompletedWithWarnings"
	// ReasonFailed: the transfer failed, with the cause. On the PodVolumeBackup or PodVolumeRestore, and on its pod.
	ReasonFailed = "Failed"
	// ReasonCanceled: the transfer was stopped on request, or because its timeout passed. On the PodVolumeBackup or
	// PodVolumeRestore, and on its pod.
	ReasonCanceled = "Canceled"
	// ReasonSkipped: the volume cannot be transferred, with the cause. On the PodVolumeBackup or PodVolumeRestore, and
	// on its pod.
	ReasonSkipped = "Skipped"
	// ReasonRepositoryNotReady: the repository cannot be used, with the cause. On the ResticRepository.
	ReasonRepositoryNotReady = "RepositoryNotReady"
	// ReasonMaintenanceFailed: a check, prune, unlock or list failed, with the cause. A check or prune that was due is
	// retried. On the ResticRepository.
	ReasonMaintenanceFailed = "MaintenanceFailed"
	// ReasonDamaged: a check found damage. On the ResticRepository.
	ReasonDamaged = "Damaged"
	// ReasonLocked: a lock blocks an operation, with the lock's holder. On the ResticRepository.
	ReasonLocked = "Locked"
	// ReasonOrphansFound: the repository has snapshots of backups that no longer exist, with the time of their removal.
	// On the ResticRepository.
	ReasonOrphansFound = "OrphansFound"
	// ReasonSweepFailed: the repository could not be searched for such snapshots. The search is retried. On the
	// ResticRepository.
	ReasonSweepFailed = "SweepFailed"
	// ReasonForgetFailed: the snapshot of a deleted backup could not be removed. The removal is retried. On the
	// PodVolumeBackup.
	ReasonForgetFailed = "ForgetFailed"
	// ReasonBadConfiguration: a setting cannot be used, with what to do. On the ResticRepository for the ConfigMap with
	// the maintenance settings. On the ConfigMap for rules that cannot be read, and for a ConfigMap that looks like the
	// plugin's configuration and has labels that do not match.
	ReasonBadConfiguration = "BadConfiguration"
	// ReasonAnnotateFailed: a pod, or every pod, cannot be annotated, with what to do. On the ConfigMap with the rules.
	ReasonAnnotateFailed = "AnnotateFailed"
	// ReasonCoverageDown: the leader cannot read what coverage needs, with the missing right. On DaemonSet restic.
	ReasonCoverageDown = "CoverageDown"
)

// ReasonWaiting: the operation cannot start yet, or the locks are being read again. Only conditions have this reason.
const ReasonWaiting = "Waiting"
