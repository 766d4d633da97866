// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package board

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
)

// Operation is Velero's Backup or Restore, as it said it last.
type Operation struct {
	// Kind is "backup" or "restore", and Name the object's.
	Kind, Name string
	// Phase is Velero's word; New where the object says none.
	Phase string
	// Final says that the phase will not change any more, and Good that everything is well then.
	Final, Good bool
	// Detail says more about the phase, for people; often empty.
	Detail string
	// Started and Completed are zero until then.
	Started, Completed time.Time
	// Errors and Warnings are Velero's counts, which include those of the volumes.
	Errors, Warnings int
}

// OfVeleroBackup returns what Velero's Backup says.
func OfVeleroBackup(backup *velerov1.Backup) Operation {
	status := &backup.Status
	operation := Operation{
		Kind: "backup", Name: backup.Name, Phase: string(cmp.Or(status.Phase, velerov1.BackupPhaseNew)),
		Good:    status.Phase == velerov1.BackupPhaseCompleted,
		Started: timeOf(status.StartTimestamp), Completed: timeOf(status.CompletionTimestamp),
		Errors: status.Errors, Warnings: status.Warnings,
		Detail: strings.Join(append([]string{status.FailureReason}, status.ValidationErrors...), " "),
	}
	switch status.Phase {
	case velerov1.BackupPhaseCompleted, velerov1.BackupPhasePartiallyFailed, velerov1.BackupPhaseFailed,
		velerov1.BackupPhaseFailedValidation, velerov1.BackupPhaseDeleting:
		operation.Final = true
	case velerov1.BackupPhaseQueued:
		operation.Detail = fmt.Sprintf("position %d in Velero's queue", status.QueuePosition)
	default: // it goes on
	}
	operation.Detail = strings.TrimSpace(operation.Detail)
	return operation
}

// OfVeleroRestore returns what Velero's Restore says.
func OfVeleroRestore(restore *velerov1.Restore) Operation {
	status := &restore.Status
	operation := Operation{
		Kind: "restore", Name: restore.Name, Phase: string(cmp.Or(status.Phase, velerov1.RestorePhaseNew)),
		Good:    status.Phase == velerov1.RestorePhaseCompleted,
		Started: timeOf(status.StartTimestamp), Completed: timeOf(status.CompletionTimestamp),
		Errors: status.Errors, Warnings: status.Warnings,
		Detail: strings.Join(append([]string{status.FailureReason}, status.ValidationErrors...), " "),
	}
	switch status.Phase {
	case velerov1.RestorePhaseCompleted, velerov1.RestorePhasePartiallyFailed, velerov1.RestorePhaseFailed,
		velerov1.RestorePhaseFailedValidation:
		operation.Final = true
	default: // it goes on
	}
	operation.Detail = strings.TrimSpace(operation.Detail)
	return operation
}
