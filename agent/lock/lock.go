// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package lock watches the locks of repositories: who holds each, and whether its holder is gone.
package lock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/condition"
	"github.com/velero-restic/velero-plugin-for-restic/agent/event"
	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	"github.com/velero-restic/velero-plugin-for-restic/agent/occupied"
	"github.com/velero-restic/velero-plugin-for-restic/agent/status"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/agent/worker"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

const (
	// lockInterval is how often the locks of a repository are looked at when one has come in the way, and
	// lockIntervalLong after lockRecent.
	lockInterval, lockIntervalLong = 15 * time.Second, time.Minute
	// lockRecent is how long a lock counts as new.
	lockRecent = 5 * time.Minute
	// lockTimeout bounds one look.
	lockTimeout = 5 * time.Minute
)

// Reconciler looks at the locks of repositories in which one is in the way, says in their status whose they are,
// and when none is left. It runs in the leader alone, and removes nothing that restic itself would not: what else is
// abandoned is removed by a Job, see MaintenanceReconciler.
type Reconciler struct {
	// Client reads from the cache, and writes.
	Client client.Client
	// Reader reads pods from the API server.
	Reader client.Reader
	// Recorder tells of locks.
	Recorder record.EventRecorder
	// Metrics tells of repositories that are locked.
	Metrics *metric.Set
	// Clock tells the time.
	Clock clock.PassiveClock
	// Jobs runs the looks.
	Jobs *transfer.Pool[transfer.LocksOutcome]
	// Locks does one: transfer.Mover.Locks.
	Locks func(context.Context, transfer.LocksRequest, func(transfer.Progress)) (transfer.LocksOutcome, error)
}

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, wakeup worker.Wakeup) error {
	return ctrl.NewControllerManagedBy(mgr).Named("lock").For(&resticv1.ResticRepository{}).
		WatchesRawSource(wakeup.Source()).WithOptions(worker.LeaderOnly()).Complete(r)
}

// Reconcile looks at the locks of one repository when that is due.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	key := request.String()
	repository := &resticv1.ResticRepository{}
	if err := r.Client.Get(ctx, request.NamespacedName, repository); err != nil {
		if apierrors.IsNotFound(err) {
			r.Jobs.Cancel(key, worker.ErrObjectGone)
			r.Jobs.Remove(key)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	state, found := r.Jobs.State(key)
	switch {
	case found && state.Phase != transfer.Done:
		return ctrl.Result{}, nil
	case found:
		err := r.record(ctx, repository, state)
		if err == nil {
			r.Jobs.Remove(key)
		}
		return worker.RequeueOnConflict(ctrl.Result{RequeueAfter: r.interval(repository)}, err)
	case repository.DeletionTimestamp != nil,
		!meta.IsStatusConditionFalse(repository.Status.Conditions, resticv1.ConditionUnlocked):
		return ctrl.Result{}, nil
	}
	if seen := repository.Status.LocksTime; seen != nil {
		if delay := r.interval(repository) - r.Clock.Since(seen.Time); delay > 0 {
			return ctrl.Result{RequeueAfter: delay}, nil
		}
	}
	return ctrl.Result{}, submit(r.Jobs, key, repository, r.Locks)
}

func (r *Reconciler) interval(repository *resticv1.ResticRepository) time.Duration {
	condition := meta.FindStatusCondition(repository.Status.Conditions, resticv1.ConditionUnlocked)
	if condition != nil && r.Clock.Since(condition.LastTransitionTime.Time) > lockRecent {
		return lockIntervalLong
	}
	return lockInterval
}

func submit(
	jobs *transfer.Pool[transfer.LocksOutcome], key string, repository *resticv1.ResticRepository,
	read func(context.Context, transfer.LocksRequest, func(transfer.Progress)) (transfer.LocksOutcome, error),
) error {
	request := transfer.LocksRequest{Repository: transfer.Repository{
		Location: repository.Spec.BackupStorageLocation, Namespace: repository.Spec.VolumeNamespace,
	}}
	return jobs.Submit(key, "", lockTimeout,
		func(ctx context.Context, report func(transfer.Progress)) (transfer.LocksOutcome, error) {
			return read(ctx, request, report)
		})
}

// record writes what was seen into the status. Of a look that failed it says so: that a lock is in the way stays true.
func (r *Reconciler) record(
	ctx context.Context, repository *resticv1.ResticRepository, state transfer.State[transfer.LocksOutcome],
) error {
	if errors.Is(state.Err, transfer.ErrStopping) {
		return nil
	}
	old, now := repository.DeepCopy(), metav1.NewTime(r.Clock.Now())
	repository.Status.LocksTime = &now
	if state.Err != nil {
		condition.Set(repository, resticv1.ConditionUnlocked, metav1.ConditionFalse, resticv1.ReasonLocked,
			"the locks cannot be looked at: "+state.Err.Error())
		return r.save(ctx, old, repository)
	}
	finder := &holderFinder{client: r.Client, reader: r.Reader, namespace: repository.Namespace, now: now.Time}
	locks, err := finder.find(ctx, repository, state.Result.Locks)
	if err != nil {
		return err
	}
	repository.Status.Locks = locks
	if len(locks) == 0 {
		condition.Set(repository, resticv1.ConditionUnlocked, metav1.ConditionTrue, resticv1.ReasonUnlocked,
			"no lock is in the way")
	} else {
		condition.Set(repository, resticv1.ConditionUnlocked, metav1.ConditionFalse, resticv1.ReasonLocked,
			lockMessage(locks))
	}
	return r.save(ctx, old, repository)
}

// lockMessage tells of the lock that keeps most out, and how many more there are.
func lockMessage(locks []resticv1.RepositoryLock) string {
	first := &locks[0]
	if i := slices.IndexFunc(locks, func(l resticv1.RepositoryLock) bool { return l.Exclusive }); i > 0 {
		first = &locks[i]
	}
	text := "the repository is " + occupied.DescribeLock(first)
	if len(locks) > 1 {
		text += fmt.Sprintf("; and %d more, see status.locks", len(locks)-1)
	}
	return text
}

func (r *Reconciler) save(ctx context.Context, old, repository *resticv1.ResticRepository) error {
	saved, err := status.Save(ctx, r.Client, old, repository)
	if err != nil || !saved {
		return err
	}
	r.Metrics.Maintained(repository)
	before := meta.FindStatusCondition(old.Status.Conditions, resticv1.ConditionUnlocked)
	after := meta.FindStatusCondition(repository.Status.Conditions, resticv1.ConditionUnlocked)
	switch {
	case after.Status == metav1.ConditionTrue && before != nil && before.Status != metav1.ConditionTrue:
		r.Recorder.Event(repository, corev1.EventTypeNormal, resticv1.ReasonUnlocked, event.Clip(after.Message))
	case after.Status == metav1.ConditionFalse && (before == nil || !sameHosts(old, repository)):
		r.Recorder.Event(repository, corev1.EventTypeWarning, resticv1.ReasonLocked, event.Clip(after.Message))
	}
	return nil
}

// sameHosts says whether the locks are those of the same processes, refreshed perhaps.
func sameHosts(old, repository *resticv1.ResticRepository) bool {
	return slices.EqualFunc(old.Status.Locks, repository.Status.Locks, func(a, b resticv1.RepositoryLock) bool {
		return a.Host == b.Host && a.PID == b.PID
	})
}
