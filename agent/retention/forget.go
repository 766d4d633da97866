// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package retention removes the snapshots that no backup needs any longer: those of deleted backups, and orphans.
package retention

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/velero-restic/velero-plugin-for-restic/agent/event"
	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	"github.com/velero-restic/velero-plugin-for-restic/agent/occupied"
	"github.com/velero-restic/velero-plugin-for-restic/agent/status"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/agent/worker"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

const (
	// indexForget is the key of the cache's index of what is to be forgotten, by repository.
	indexForget = "spec.forget"
	// gatherTime is how long to wait for more PodVolumeBackups of a deleted backup, so that they are forgotten at once:
	// each run takes the repository's exclusive lock.
	gatherTime = 2 * time.Second
	// forgetTimeout bounds one run.
	forgetTimeout = 30 * time.Minute
	// forgetRetry is how soon a run that failed is tried again. Nothing is lost meanwhile: the objects stay.
	forgetRetry = 30 * time.Second
	// occupiedInterval is how soon a repository that is occupied is looked at again.
	occupiedInterval = 5 * time.Second
)

// ForgetReconciler removes the snapshots of deleted backups. Its requests are repositories, by the name of their
// ResticRepository, which itself need not exist. It runs in the leader alone.
type ForgetReconciler struct {
	// Client reads from the cache.
	Client client.Client
	// Recorder tells of failures.
	Recorder record.EventRecorder
	// Metrics counts.
	Metrics *metric.Set
	// Jobs runs restic.
	Jobs *transfer.Pool[transfer.ForgetOutcome]
	// Forget does it: transfer.Mover.Forget.
	Forget func(context.Context, transfer.ForgetRequest, func(transfer.Progress)) (transfer.ForgetOutcome, error)
	// Clock tells the time.
	Clock clock.PassiveClock
}

// SetupWithManager registers the reconciler.
func (r *ForgetReconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, wakeup worker.Wakeup) error {
	extract := func(o client.Object) []string {
		backup, ok := o.(*resticv1.PodVolumeBackup)
		if !ok || !backup.Spec.Forget {
			return nil
		}
		return []string{backup.Spec.Repository}
	}
	err := mgr.GetFieldIndexer().IndexField(ctx, &resticv1.PodVolumeBackup{}, indexForget, extract)
	if err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).Named("forget").
		Watches(&resticv1.PodVolumeBackup{}, handler.EnqueueRequestsFromMapFunc(requestsForForgotten)).
		WatchesRawSource(wakeup.Source()).
		WithOptions(worker.LeaderOnly()).Complete(r)
}

func requestsForForgotten(_ context.Context, object client.Object) []reconcile.Request {
	backup, ok := object.(*resticv1.PodVolumeBackup)
	if !ok || !backup.Spec.Forget {
		return nil
	}
	return []reconcile.Request{{
		NamespacedName: client.ObjectKey{Namespace: backup.Namespace, Name: backup.Spec.Repository},
	}}
}

// Reconcile forgets what is to be forgotten in one repository, and removes the objects that asked for it.
func (r *ForgetReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	marked := &resticv1.PodVolumeBackupList{}
	if err := r.Client.List(ctx, marked, client.InNamespace(request.Namespace),
		client.MatchingFields{indexForget: request.Name}); err != nil {
		return ctrl.Result{}, fmt.Errorf("listing what to forget: %w", err)
	}
	key := request.String()
	state, found := r.Jobs.State(key)
	switch {
	case found && state.Phase != transfer.Done:
		return ctrl.Result{}, nil
	case found:
		return r.conclude(ctx, request.NamespacedName, state, marked.Items)
	}
	// A transfer that is still being stopped may yet finish its snapshot.
	marked.Items = slices.DeleteFunc(marked.Items, func(backup resticv1.PodVolumeBackup) bool {
		return backup.Status.Phase == resticv1.PhaseInProgress
	})
	if len(marked.Items) == 0 {
		return ctrl.Result{}, nil
	}
	if busy, err := r.waitWhileOccupied(ctx, request.NamespacedName, marked.Items); err != nil || busy {
		return ctrl.Result{RequeueAfter: occupiedInterval}, err
	}
	if wait := gatherTime - r.Clock.Since(newestUpdate(marked.Items)); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	return ctrl.Result{}, r.submit(key, marked.Items)
}

// waitWhileOccupied returns whether other work on the repository keeps snapshots from being forgotten now, and writes
// the reason into the objects that wait.
func (r *ForgetReconciler) waitWhileOccupied(
	ctx context.Context, key client.ObjectKey, backups []resticv1.PodVolumeBackup,
) (bool, error) {
	repository := &resticv1.ResticRepository{}
	if err := r.Client.Get(ctx, key, repository); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	reason := occupied.ByJob(repository)
	if reason == "" {
		reason = occupied.ByLock(repository, r.Clock.Now(), false)
	}
	if reason == "" {
		return false, nil
	}
	message := event.Clip("the snapshot is forgotten later: " + reason)
	for i := range backups {
		backup := &backups[i]
		if backup.Status.Message == message {
			continue
		}
		old := backup.DeepCopy()
		backup.Status.Message = message
		if _, err := status.Save(ctx, r.Client, old, backup); status.IgnoreConflict(err) != nil {
			return false, err
		}
	}
	return true, nil
}

// newestUpdate returns when the last of the objects was asked to be forgotten, as far as it can be seen.
func newestUpdate(backups []resticv1.PodVolumeBackup) time.Time {
	var newest time.Time
	for i := range backups {
		for _, entry := range backups[i].ManagedFields {
			if entry.Time != nil && entry.Subresource == "" && entry.Time.After(newest) {
				newest = entry.Time.Time
			}
		}
	}
	return newest
}

func (r *ForgetReconciler) submit(key string, backups []resticv1.PodVolumeBackup) error {
	first := &backups[0]
	request := transfer.ForgetRequest{
		Repository: transfer.Repository{
			Location: first.Spec.BackupStorageLocation, Namespace: first.Spec.Pod.Namespace,
		},
		PodVolumeBackups: sets.New[string](), SnapshotIDs: sets.New[string](),
	}
	for i := range backups {
		request.PodVolumeBackups.Insert(backups[i].Name)
		for _, id := range []string{backups[i].Spec.SnapshotID, backups[i].Status.SnapshotID} {
			if id != "" {
				request.SnapshotIDs.Insert(id)
			}
		}
	}
	return r.Jobs.Submit(key, "", forgetTimeout,
		func(ctx context.Context, report func(transfer.Progress)) (transfer.ForgetOutcome, error) {
			return r.Forget(ctx, request, report)
		})
}

// conclude ends a run: the objects that it was for go when it went well, and say what is wrong when it did not.
func (r *ForgetReconciler) conclude(
	ctx context.Context, key client.ObjectKey, state transfer.State[transfer.ForgetOutcome],
	backups []resticv1.PodVolumeBackup,
) (ctrl.Result, error) {
	for i := range backups {
		backup := &backups[i]
		// Others may have been asked for since the run began.
		if !state.Result.PodVolumeBackups.Has(backup.Name) {
			continue
		}
		if state.Err != nil {
			r.Recorder.Event(backup, corev1.EventTypeWarning, resticv1.ReasonForgetFailed, event.Clip(fmt.Sprintf(
				"The snapshot is still there and is tried again in %s: %s", forgetRetry, state.Err)))
			continue
		}
		if err := r.release(ctx, backup); err != nil {
			return ctrl.Result{}, err
		}
	}
	if err := r.reportLock(ctx, key, state.Err); err != nil {
		return ctrl.Result{}, err
	}
	r.Jobs.Remove(key.String())
	if state.Err != nil {
		return ctrl.Result{RequeueAfter: forgetRetry}, nil //nolint:nilerr // told by the events, and tried again
	}
	r.Metrics.Forgotten(state.Result.Count)
	return ctrl.Result{RequeueAfter: gatherTime}, nil
}

// reportLock tells of a lock that was in the way in the repository's status.
func (r *ForgetReconciler) reportLock(ctx context.Context, key client.ObjectKey, err error) error {
	if !errors.Is(err, restic.ErrLocked) {
		return nil
	}
	return occupied.MarkLocked(ctx, r.Client, key, occupied.BlockedMessage(err, r.Clock.Now()))
}

// release removes the objects whose snapshots are gone.
func (r *ForgetReconciler) release(ctx context.Context, backup *resticv1.PodVolumeBackup) error {
	old := backup.DeepCopy()
	if controllerutil.RemoveFinalizer(backup, contract.FinalizerForget) {
		if err := r.Client.Patch(ctx, backup, client.MergeFrom(old)); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("releasing PodVolumeBackup %s: %w", backup.Name, err)
		}
	}
	if err := r.Client.Delete(ctx, backup); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting PodVolumeBackup %s: %w", backup.Name, err)
	}
	r.Recorder.Event(backup, corev1.EventTypeNormal, resticv1.ReasonForgotten, "The snapshot was removed")
	return nil
}
