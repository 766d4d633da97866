// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package occupied returns what keeps others out of a repository: a maintenance Job, or a lock of restic. It reads both
// from the status of the ResticRepository.
package occupied

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/condition"
	"github.com/velero-restic/velero-plugin-for-restic/agent/status"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// LockMaxAge is how long what was seen of locks counts. The leader looks more often than that.
const LockMaxAge = 2 * time.Minute

// UnlockRetry spaces the attempts to remove the same locks.
const UnlockRetry = 2 * time.Minute

// ByJob says which Job has the repository for itself; empty if none has.
func ByJob(repository *resticv1.ResticRepository) string {
	running := RunningJob(repository)
	if running == nil || !IsExclusive(running.Operation) {
		return ""
	}
	return fmt.Sprintf("repository %s is being worked on by Job %s (%s), since %s", repository.Name, running.Job,
		running.Operation, running.StartTime.UTC().Format(time.RFC3339))
}

// IsExclusive says whether an operation wants the repository for itself.
func IsExclusive(operation resticv1.MaintenanceOperation) bool {
	return operation == resticv1.OperationCheck || operation == resticv1.OperationPrune
}

// RunningJob returns the operation that runs, other than a list of snapshots; nil if none does.
func RunningJob(repository *resticv1.ResticRepository) *resticv1.Maintenance {
	for i := range repository.Status.Maintenance {
		entry := &repository.Status.Maintenance[i]
		if entry.Operation != resticv1.OperationSnapshots && entry.Result == resticv1.MaintenanceRunning {
			return entry
		}
	}
	return nil
}

// ByLock says which lock is in the way, as far as it was seen lately; empty if none is. Those who share the
// repository are only kept out by an exclusive lock.
func ByLock(repository *resticv1.ResticRepository, now time.Time, shares bool) string {
	status := &repository.Status
	if !meta.IsStatusConditionFalse(status.Conditions, resticv1.ConditionUnlocked) || status.LocksTime == nil ||
		now.Sub(status.LocksTime.Time) > LockMaxAge {
		return ""
	}
	for i := range status.Locks {
		if lock := &status.Locks[i]; lock.Exclusive || !shares {
			return fmt.Sprintf("repository %s is %s", repository.Name, DescribeLock(lock))
		}
	}
	return ""
}

func DescribeLock(lock *resticv1.RepositoryLock) string {
	text := fmt.Sprintf("locked by host %s (process %d), as of %s", lock.Host, lock.PID,
		lock.Time.UTC().Format(time.RFC3339))
	if lock.Holder != "" {
		text += ": " + lock.Holder
	}
	return text
}

// BlockedMessage tells of an ErrLocked in the words of a status.
func BlockedMessage(err error, now time.Time) string {
	lock, known := restic.BlockedBy(err, now)
	if !known {
		return err.Error()
	}
	return "the repository is " + DescribeLock(&resticv1.RepositoryLock{
		Host: lock.Hostname, PID: int64(lock.PID), Time: metav1.NewTime(lock.Time),
	})
}

// MarkLocked sets the condition Unlocked of a repository to false, so that the leader reads the locks. After a conflict
// with another writer it does nothing: the operation that met the lock meets it again.
func MarkLocked(ctx context.Context, c client.Client, key client.ObjectKey, message string) error {
	repository := &resticv1.ResticRepository{}
	if err := c.Get(ctx, key, repository); err != nil {
		return client.IgnoreNotFound(err)
	}
	if meta.IsStatusConditionFalse(repository.Status.Conditions, resticv1.ConditionUnlocked) {
		return nil
	}
	old := repository.DeepCopy()
	condition.Set(repository, resticv1.ConditionUnlocked, metav1.ConditionFalse, resticv1.ReasonLocked, message)
	_, err := status.Save(ctx, c, old, repository)
	return status.IgnoreConflict(err)
}
