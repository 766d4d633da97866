// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// backups are the Backups of Velero, by name as labels have it: what an attempt is worth depends on its Backup, without
// whose tarball nothing of it can be restored. It is the book of a ledger.
type backups map[string]backup

// backup is what is kept of one of them.
type backup struct {
	uid   string // as labels have it
	phase velerov1.BackupPhase
	// schedule is the name of the Schedule of a Backup on its way, and created when that was made.
	schedule string
	created  time.Time
}

// patience is how long a Backup may be on its way before it is no reason to wait for it. Most take less than a day, and
// where Velero does not run at all one stays as it is for ever.
const patience = 24 * time.Hour

// worth is what the attempts of a Backup count for.
type worth int

const (
	// counts: their data can be restored, or will be when the Backup ends well.
	counts worth = iota
	// inVain: the Backup has failed, and with it whatever was done for it.
	inVain
	// gone: the Backup does not exist any more, or is being deleted.
	gone
)

// stripVeleroBackup keeps what becomes a backup.
func stripVeleroBackup(b *velerov1.Backup) {
	*b = velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{
			Name: b.Name, UID: b.UID, DeletionTimestamp: b.DeletionTimestamp, CreationTimestamp: b.CreationTimestamp,
			Labels: map[string]string{velerov1.ScheduleNameLabel: b.Labels[velerov1.ScheduleNameLabel]},
		},
		Status: velerov1.BackupStatus{Phase: b.Status.Phase},
	}
}

func (b backups) enter(object *velerov1.Backup) {
	phase := object.Status.Phase
	if object.DeletionTimestamp != nil {
		phase = velerov1.BackupPhaseDeleting
	}
	kept := backup{uid: contract.LabelValue(string(object.UID)), phase: phase}
	if onItsWay(phase) {
		kept.schedule, kept.created = object.Labels[velerov1.ScheduleNameLabel], object.CreationTimestamp.Time
	}
	b[contract.LabelValue(object.Name)] = kept
}

// onItsWay says whether a Backup keeps its Schedule from making the next one (velero v1.18.3,
// pkg/controller/schedule_controller.go, checkIfBackupInNewOrProgress), or waits for another one to end.
func onItsWay(phase velerov1.BackupPhase) bool {
	switch phase {
	case "", velerov1.BackupPhaseNew, velerov1.BackupPhaseQueued, velerov1.BackupPhaseReadyToStart,
		velerov1.BackupPhaseInProgress:
		return true
	default:
		return false
	}
}

// running returns since when a Backup of a Schedule is on its way, by the Schedule's name.
func (b backups) running(now time.Time) map[string]time.Time {
	schedules := map[string]time.Time{}
	for _, one := range b {
		if one.schedule == "" || now.Sub(one.created) >= patience {
			continue
		}
		if other, is := schedules[one.schedule]; !is || one.created.Before(other) {
			schedules[one.schedule] = one.created
		}
	}
	return schedules
}

func (b backups) strike(object *velerov1.Backup) { delete(b, contract.LabelValue(object.Name)) }

func (b backups) clear() { clear(b) }

// worth says what attempts in the Backup count for. A Backup that goes on lets them count for the time being: the data
// is in the repository, and if the Backup fails, that is told.
func (b backup) worth() worth {
	switch b.phase {
	case velerov1.BackupPhaseFailed, velerov1.BackupPhaseFailedValidation:
		return inVain
	case velerov1.BackupPhaseDeleting:
		return gone
	case "", velerov1.BackupPhaseNew, velerov1.BackupPhaseQueued, velerov1.BackupPhaseReadyToStart,
		velerov1.BackupPhaseInProgress, velerov1.BackupPhaseWaitingForPluginOperations,
		velerov1.BackupPhaseWaitingForPluginOperationsPartiallyFailed, velerov1.BackupPhaseFinalizing,
		velerov1.BackupPhaseFinalizingPartiallyFailed, velerov1.BackupPhaseCompleted,
		velerov1.BackupPhasePartiallyFailed:
		return counts
	}
	return gone // a phase of a later Velero promises nothing
}

// ended says whether the Backup is one that Velero finds in a bucket, with another UID than it had.
func (b backup) ended() bool {
	return b.phase == velerov1.BackupPhaseCompleted || b.phase == velerov1.BackupPhasePartiallyFailed ||
		b.phase == velerov1.BackupPhaseFailed
}
