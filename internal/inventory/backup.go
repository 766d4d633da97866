// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// backups are Velero's Backups, by name as in labels. They decide on the outcome of PodVolumeBackups: without the
// tarball of its Backup, a volume cannot be restored. It is an index.
type backups map[string]backup

// backup is what is kept of a Backup.
type backup struct {
	uid   string // as in labels
	phase velerov1.BackupPhase
	// schedule and created are the Schedule and the creation time of a Backup in progress.
	schedule string
	created  time.Time
}

// maxInProgress is how long a Backup in progress may excuse missing backups. Most Backups take less than a day, and if
// Velero does not run, a Backup stays in progress forever.
const maxInProgress = 24 * time.Hour

// backupResult is whether the volumes of a Backup can be restored.
type backupResult int

const (
	// backupUsable: they can be restored, or it can be expected when the Backup ends.
	backupUsable backupResult = iota
	// backupFailed: the Backup has failed, so they cannot be restored.
	backupFailed
	// backupGone: the Backup was deleted, or is being deleted.
	backupGone
)

// stripVeleroBackup removes what backup does not need.
func stripVeleroBackup(b *velerov1.Backup) {
	*b = velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{
			Name: b.Name, UID: b.UID, DeletionTimestamp: b.DeletionTimestamp, CreationTimestamp: b.CreationTimestamp,
			Labels: map[string]string{velerov1.ScheduleNameLabel: b.Labels[velerov1.ScheduleNameLabel]},
		},
		Status: velerov1.BackupStatus{Phase: b.Status.Phase},
	}
}

func (b backups) add(object *velerov1.Backup) {
	phase := object.Status.Phase
	if object.DeletionTimestamp != nil {
		phase = velerov1.BackupPhaseDeleting
	}
	kept := backup{uid: contract.LabelValue(string(object.UID)), phase: phase}
	if inProgress(phase) {
		kept.schedule, kept.created = object.Labels[velerov1.ScheduleNameLabel], object.CreationTimestamp.Time
	}
	b[contract.LabelValue(object.Name)] = kept
}

// inProgress returns whether a Backup keeps its Schedule from creating the next one (velero v1.18.3,
// pkg/controller/schedule_controller.go, checkIfBackupInNewOrProgress), or is queued behind another one.
func inProgress(phase velerov1.BackupPhase) bool {
	switch phase {
	case "", velerov1.BackupPhaseNew, velerov1.BackupPhaseQueued, velerov1.BackupPhaseReadyToStart,
		velerov1.BackupPhaseInProgress:
		return true
	default:
		return false
	}
}

// running maps the names of Schedules with a Backup in progress to when the oldest one was created.
func (b backups) running(now time.Time) map[string]time.Time {
	schedules := map[string]time.Time{}
	for _, one := range b {
		if one.schedule == "" || now.Sub(one.created) >= maxInProgress {
			continue
		}
		if other, is := schedules[one.schedule]; !is || one.created.Before(other) {
			schedules[one.schedule] = one.created
		}
	}
	return schedules
}

func (b backups) remove(object *velerov1.Backup) { delete(b, contract.LabelValue(object.Name)) }

func (b backups) clear() { clear(b) }

// result returns whether volumes of the Backup can be restored. A Backup in progress counts as usable: its data is in
// the repository, and if it fails, the result changes.
func (b backup) result() backupResult {
	switch b.phase {
	case velerov1.BackupPhaseFailed, velerov1.BackupPhaseFailedValidation:
		return backupFailed
	case velerov1.BackupPhaseDeleting:
		return backupGone
	case "", velerov1.BackupPhaseNew, velerov1.BackupPhaseQueued, velerov1.BackupPhaseReadyToStart,
		velerov1.BackupPhaseInProgress, velerov1.BackupPhaseWaitingForPluginOperations,
		velerov1.BackupPhaseWaitingForPluginOperationsPartiallyFailed, velerov1.BackupPhaseFinalizing,
		velerov1.BackupPhaseFinalizingPartiallyFailed, velerov1.BackupPhaseCompleted,
		velerov1.BackupPhasePartiallyFailed:
		return backupUsable
	}
	return backupGone // an unknown phase of a later Velero: expect the worst
}

// ended returns whether the Backup may be one that Velero synced from a bucket, with another UID than it had before.
func (b backup) ended() bool {
	return b.phase == velerov1.BackupPhaseCompleted || b.phase == velerov1.BackupPhasePartiallyFailed ||
		b.phase == velerov1.BackupPhaseFailed
}
