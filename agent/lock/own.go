// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package lock

import (
	"context"
	"errors"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/occupied"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/agent/worker"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// OwnReconciler removes the locks that a process of this very container has left, by restic's own rule, which no
// other container could apply. It runs on every node.
type OwnReconciler struct {
	// Client reads from the cache.
	Client client.Client
	// Pod is the name of this agent's pod.
	Pod string
	// Clock tells the time.
	Clock clock.PassiveClock
	// Jobs runs the removals.
	Jobs *transfer.Pool[transfer.LocksOutcome]
	// Locks does one: transfer.Mover.Locks.
	Locks func(context.Context, transfer.LocksRequest, func(transfer.Progress)) (transfer.LocksOutcome, error)

	// looked says when each repository was last looked at. The one worker has it to itself.
	lastRemoval map[string]time.Time
}

// SetupWithManager registers the reconciler.
func (r *OwnReconciler) SetupWithManager(mgr ctrl.Manager, wakeup worker.Wakeup) error {
	options := worker.EveryNode()
	options.MaxConcurrentReconciles = 1
	return ctrl.NewControllerManagedBy(mgr).Named("ownlock").For(&resticv1.ResticRepository{}).
		WatchesRawSource(wakeup.Source()).WithOptions(options).Complete(r)
}

// Reconcile removes this container's abandoned locks where the leader has seen locks of it.
func (r *OwnReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	key := request.String()
	if state, found := r.Jobs.State(key); found {
		if state.Phase != transfer.Done {
			return ctrl.Result{}, nil
		}
		r.Jobs.Remove(key)
		if state.Err != nil && !errors.Is(state.Err, transfer.ErrStopping) {
			ctrl.LoggerFrom(ctx).Error(state.Err, "Removing locks that this agent has left")
		}
		return ctrl.Result{}, nil
	}
	repository := &resticv1.ResticRepository{}
	if err := r.Client.Get(ctx, request.NamespacedName, repository); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	own := func(lock resticv1.RepositoryLock) bool { return r.Pod != "" && lock.Host == r.Pod }
	if !meta.IsStatusConditionFalse(repository.Status.Conditions, resticv1.ConditionUnlocked) ||
		!slices.ContainsFunc(repository.Status.Locks, own) {
		delete(r.lastRemoval, key)
		return ctrl.Result{}, nil
	}
	if delay := occupied.UnlockRetry - r.Clock.Since(r.lastRemoval[key]); delay > 0 {
		return ctrl.Result{RequeueAfter: delay}, nil
	}
	if r.lastRemoval == nil {
		r.lastRemoval = map[string]time.Time{}
	}
	r.lastRemoval[key] = r.Clock.Now()
	return ctrl.Result{}, submit(r.Jobs, key, repository, r.Locks)
}
