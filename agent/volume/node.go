// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volume

import (
	"context"
	"fmt"
	"time"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/velero-restic/velero-plugin-for-restic/agent/event"
	"github.com/velero-restic/velero-plugin-for-restic/agent/occupied"
	"github.com/velero-restic/velero-plugin-for-restic/agent/waiting"
	"github.com/velero-restic/velero-plugin-for-restic/agent/worker"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// IndexRepository is the key of the cache's index by the repository of what has not ended.
const IndexRepository = "spec.repository"

// MaxLockWait bounds the wait for a repository that somebody else works on, for operations without a timeout of
// their own. It is Velero's default for those that have one (velero v1.18.3, --item-operation-timeout).
const MaxLockWait = 4 * time.Hour

// NodeOptions are what the reconcilers of a node need alike.
type NodeOptions struct {
	// Client reads from the cache, which holds what belongs to this node.
	Client client.Client
	// Reader reads from the API server.
	Reader client.Reader
	// Announcer tells of phases.
	Announcer *event.Announcer
	// Pod is the name of this agent's pod.
	Pod string
	// Node is this node's name.
	Node string
	// Namespace is Velero's.
	Namespace string
	// RepositoryWait is how long an operation waits for its repository to become ready.
	RepositoryWait time.Duration
	// ProgressInterval is how often a transfer's progress is written into its status.
	ProgressInterval time.Duration
	// Clock tells the time.
	Clock clock.PassiveClock
}

// Ready returns what an operation waits for, or why it fails, while it cannot use the repository.
func (o *NodeOptions) Ready(
	repository *resticv1.ResticRepository, operation resticv1.VolumeOperation,
) (wait waiting.Cause, fail string) {
	if repository.Status.Phase == resticv1.RepositoryReady {
		return o.occupied(repository, operation)
	}
	state := fmt.Sprintf("repository %s of namespace %s in storage location %s is not ready", repository.Name,
		repository.Spec.VolumeNamespace, repository.Spec.BackupStorageLocation)
	if repository.Status.Message != "" {
		state += ": " + repository.Status.Message
	}
	if o.Clock.Since(operation.GetCreationTimestamp().Time) > o.RepositoryWait {
		return waiting.Cause{}, state
	}
	return waiting.Cause{Reason: resticv1.WaitingForRepository, Message: state}, ""
}

// occupied is Ready for a ready repository that a maintenance Job or a lock blocks. restic would wait for the lock,
// too, but then the operation would occupy a slot of the node.
func (o *NodeOptions) occupied(
	repository *resticv1.ResticRepository, operation resticv1.VolumeOperation,
) (wait waiting.Cause, fail string) {
	if byJob := occupied.ByJob(repository); byJob != "" {
		wait = waiting.Cause{Reason: resticv1.WaitingForMaintenance, Message: byJob}
	} else if byLock := occupied.ByLock(repository, o.Clock.Now(), true); byLock != "" {
		wait = waiting.Cause{Reason: resticv1.WaitingForLock, Message: byLock}
	}
	if !wait.None() && waitedTooLong(operation, o.Clock) {
		return waiting.Cause{}, fmt.Sprintf("given up after %s: %s", MaxLockWait, wait.Message)
	}
	return wait, ""
}

// waitedTooLong says whether an operation that has no deadline has waited long enough for others.
func waitedTooLong(operation resticv1.VolumeOperation, clock clock.PassiveClock) bool {
	deadline := operation.Deadline()
	return deadline.IsZero() && clock.Since(operation.GetCreationTimestamp().Time) > MaxLockWait
}

// ReportLock tells everybody in the repository's status that a lock was in the way.
func (o *NodeOptions) ReportLock(ctx context.Context, name string, cause error) error {
	return occupied.MarkLocked(ctx, o.Client, client.ObjectKey{Namespace: o.Namespace, Name: name},
		occupied.BlockedMessage(cause, o.Clock.Now()))
}

// RequestsForRepository wakes the operations that wait for a repository.
func (o *NodeOptions) RequestsForRepository(newList func() client.ObjectList) handler.MapFunc {
	return func(ctx context.Context, repository client.Object) []reconcile.Request {
		list := newList()
		if err := o.Client.List(ctx, list, client.InNamespace(o.Namespace),
			client.MatchingFields{IndexRepository: repository.GetName()}); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Listing what waits for a repository", "repository", repository.GetName())
			return nil
		}
		requests, err := worker.RequestsFor(list)
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Reading what waits for a repository", "repository", repository.GetName())
		}
		return requests
	}
}
