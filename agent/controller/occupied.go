// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package controller

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

const (
	// lockPatience bounds the wait for a repository that somebody else works on, for operations without a timeout of
	// their own. It is Velero's default for those that have one (velero v1.18.3, --item-operation-timeout).
	lockPatience = 4 * time.Hour
	// lockKnowledge is how long what was seen of locks counts. The leader looks more often than that.
	lockKnowledge = 2 * time.Minute
)

// impatient says whether an operation that has no deadline has waited long enough for others.
func impatient(operation resticv1.VolumeOperation, clock clock.PassiveClock) bool {
	deadline := operation.Deadline()
	return deadline.IsZero() && clock.Since(operation.GetCreationTimestamp().Time) > lockPatience
}

// occupied says what to wait for, or why to give up, while somebody works on the repository as a whole. restic's locks
// would keep them apart as well; waiting here takes no place on the node from other repositories.
func (o *NodeOptions) occupied(
	repository *resticv1.ResticRepository, operation resticv1.VolumeOperation,
) (wait, fail string) {
	reason := maintainedNow(repository)
	if reason == "" {
		reason = lockedOut(repository, o.Clock.Now(), true)
	}
	if reason != "" && impatient(operation, o.Clock) {
		return "", fmt.Sprintf("given up after %s: %s", lockPatience, reason)
	}
	if reason != "" {
		reason = "waiting: " + reason
	}
	return reason, ""
}

// maintainedNow says which Job has the repository for itself; empty if none has.
func maintainedNow(repository *resticv1.ResticRepository) string {
	running := runningMaintenance(repository)
	if running == nil || !excludes(running.Operation) {
		return ""
	}
	return fmt.Sprintf("repository %s is being worked on by Job %s (%s), since %s", repository.Name, running.Job,
		running.Operation, running.StartTime.UTC().Format(time.RFC3339))
}

// excludes says whether an operation wants the repository for itself.
func excludes(operation resticv1.MaintenanceOperation) bool {
	return operation == resticv1.OperationCheck || operation == resticv1.OperationPrune
}

// runningMaintenance returns the operation that runs, other than a list of snapshots; nil if none does.
func runningMaintenance(repository *resticv1.ResticRepository) *resticv1.Maintenance {
	for i := range repository.Status.Maintenance {
		entry := &repository.Status.Maintenance[i]
		if entry.Operation != resticv1.OperationSnapshots && entry.Result == resticv1.MaintenanceRunning {
			return entry
		}
	}
	return nil
}

// lockedOut says which lock is in the way, as far as it was seen lately; empty if none is. Those who share the
// repository are only kept out by an exclusive lock.
func lockedOut(repository *resticv1.ResticRepository, now time.Time, shares bool) string {
	status := &repository.Status
	if !meta.IsStatusConditionFalse(status.Conditions, resticv1.ConditionUnlocked) || status.LocksTime == nil ||
		now.Sub(status.LocksTime.Time) > lockKnowledge {
		return ""
	}
	for i := range status.Locks {
		if lock := &status.Locks[i]; lock.Exclusive || !shares {
			return fmt.Sprintf("repository %s is %s", repository.Name, describeLock(lock))
		}
	}
	return ""
}

func describeLock(lock *resticv1.RepositoryLock) string {
	text := fmt.Sprintf("locked by host %s (process %d), as of %s", lock.Host, lock.PID,
		lock.Time.UTC().Format(time.RFC3339))
	if lock.Holder != "" {
		text += ": " + lock.Holder
	}
	return text
}

// blockedMessage tells of an ErrLocked in the words of a status.
func blockedMessage(err error, now time.Time) string {
	lock, known := restic.BlockedBy(err, now)
	if !known {
		return err.Error()
	}
	return "the repository is " + describeLock(&resticv1.RepositoryLock{
		Host: lock.Hostname, PID: int64(lock.PID), Time: metav1.NewTime(lock.Time),
	})
}

// locked tells everybody in the repository's status that a lock was in the way.
func (o *NodeOptions) locked(ctx context.Context, name string, cause error) error {
	return markLocked(ctx, o.Client, client.ObjectKey{Namespace: o.Namespace, Name: name},
		blockedMessage(cause, o.Clock.Now()))
}

// markLocked makes the condition Unlocked of a repository false, on which the leader looks at its locks. A repository
// that is written by somebody else just now is left: whoever met the lock meets it again.
func markLocked(ctx context.Context, c client.Client, key client.ObjectKey, message string) error {
	repository := &resticv1.ResticRepository{}
	if err := c.Get(ctx, key, repository); err != nil {
		return client.IgnoreNotFound(err)
	}
	if meta.IsStatusConditionFalse(repository.Status.Conditions, resticv1.ConditionUnlocked) {
		return nil
	}
	old := repository.DeepCopy()
	setCondition(repository, resticv1.ConditionUnlocked, metav1.ConditionFalse, resticv1.ReasonLocked, message)
	return saveRepository(ctx, c, old, repository)
}

// setCondition changes a condition of a repository's status.
func setCondition(
	repository *resticv1.ResticRepository, kind string, status metav1.ConditionStatus, reason, message string,
) {
	meta.SetStatusCondition(&repository.Status.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: Clip(message), ObservedGeneration: repository.Generation,
	})
}

// saveRepository writes a changed status. It loses against whoever has written it since it was read, without an error:
// that write wakes everybody who looks at it.
func saveRepository(ctx context.Context, c client.Client, old, repository *resticv1.ResticRepository) error {
	if equality.Semantic.DeepEqual(old.Status, repository.Status) {
		return nil
	}
	patch := client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{})
	err := c.Status().Patch(ctx, repository, patch)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("saving the status of ResticRepository %s: %w", repository.Name, err)
	}
	return nil
}
