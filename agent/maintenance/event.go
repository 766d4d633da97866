// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package maintenance

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/velero-restic/velero-plugin-for-restic/agent/event"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// recordEvents makes Events of what has changed.
func (r *Reconciler) recordEvents(old, repository *resticv1.ResticRepository) {
	for i := range repository.Status.Maintenance {
		entry := &repository.Status.Maintenance[i]
		before := entryOf(old, entry)
		if before != nil && before.Result == entry.Result {
			continue
		}
		text := fmt.Sprintf("%s: %s", entryName(entry), entry.Message)
		switch entry.Result {
		case resticv1.MaintenanceRunning:
			r.Recorder.Event(repository, corev1.EventTypeNormal, resticv1.ReasonMaintenanceStarted,
				entryName(entry)+" begins")
			continue
		case resticv1.MaintenanceSucceeded:
			r.Recorder.Event(repository, corev1.EventTypeNormal, resticv1.ReasonMaintained, event.Clip(text))
		case resticv1.MaintenanceLocked:
			r.Recorder.Event(repository, corev1.EventTypeWarning, resticv1.ReasonLocked, event.Clip(text))
		case resticv1.MaintenanceFailed:
			r.Recorder.Event(repository, corev1.EventTypeWarning, failureReason(repository, entry), event.Clip(text))
		}
		r.Metrics.MaintenanceEnded(entry)
	}
}

// failureReason tells damage from what merely could not be done.
func failureReason(repository *resticv1.ResticRepository, entry *resticv1.Maintenance) string {
	intact := meta.FindStatusCondition(repository.Status.Conditions, resticv1.ConditionIntact)
	if entry.Operation == resticv1.OperationCheck && intact != nil && intact.Reason == resticv1.ReasonDamaged {
		return resticv1.ReasonDamaged
	}
	return resticv1.ReasonMaintenanceFailed
}

// entryOf returns the repository's state of an entry; nil if it has none.
func entryOf(repository *resticv1.ResticRepository, entry *resticv1.Maintenance) *resticv1.Maintenance {
	for i := range repository.Status.Maintenance {
		found := &repository.Status.Maintenance[i]
		if found.Operation == entry.Operation && found.Job == entry.Job && found.Request == entry.Request &&
			found.StartTime.Equal(&entry.StartTime) {
			return found
		}
	}
	return nil
}

// entryName names an entry for people.
func entryName(entry *resticv1.Maintenance) string {
	if entry.Job == "" {
		return string(entry.Operation)
	}
	return fmt.Sprintf("%s by Job %s", entry.Operation, entry.Job)
}
