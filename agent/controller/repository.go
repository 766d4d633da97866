// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

const (
	// recheckReady is how often a repository that is ready is opened again. Each time costs a few requests to the
	// storage and half a second of key derivation.
	recheckReady = time.Hour
	// recheckNotReady is how often one that is not is tried again: often enough that nobody waits long after having
	// mended it.
	recheckNotReady = 10 * time.Second
	// probeTimeout bounds one look at a repository.
	probeTimeout = 5 * time.Minute
)

// RepositoryReconciler opens repositories, makes those that are missing, and says how they are. It runs in the leader
// alone, so that no two agents make the same one.
type RepositoryReconciler struct {
	// Client reads from the cache.
	Client client.Client
	// Recorder tells of changes.
	Recorder record.EventRecorder
	// Metrics counts.
	Metrics *metric.Set
	// Clock tells the time.
	Clock clock.PassiveClock
	// AllowStaticPassword permits new repositories with the password that Velero gives to everybody.
	AllowStaticPassword bool
	// Jobs runs the probes.
	Jobs *transfer.Pool[transfer.ProbeOutcome]
	// Probe does one: transfer.Mover.Probe.
	Probe func(context.Context, transfer.ProbeRequest, func(transfer.Progress)) (transfer.ProbeOutcome, error)
}

// SetupWithManager registers the reconciler.
func (r *RepositoryReconciler) SetupWithManager(mgr ctrl.Manager, wakeup Wakeup) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&resticv1.ResticRepository{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&velerov1.BackupStorageLocation{}, handler.EnqueueRequestsFromMapFunc(r.requestsForLocation),
			// Annotations of a location are settings too, and change no generation.
			builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{},
				predicate.AnnotationChangedPredicate{}))).
		Watches(&resticv1.PodVolumeBackup{}, handler.EnqueueRequestsFromMapFunc(requestsForFailed),
			builder.WithPredicates(failedNow())).
		Watches(&resticv1.PodVolumeRestore{}, handler.EnqueueRequestsFromMapFunc(requestsForFailed),
			builder.WithPredicates(failedNow())).
		WatchesRawSource(wakeup.source()).
		WithOptions(leaderOptions()).Complete(r)
}

// leaderOptions allow the controllers of a leader that leads again, in the same process, to have the same names.
func leaderOptions() controller.Options {
	repeated := true
	return controller.Options{MaxConcurrentReconciles: workers, SkipNameValidation: &repeated}
}

func (r *RepositoryReconciler) requestsForLocation(ctx context.Context, location client.Object) []reconcile.Request {
	repositories := &resticv1.ResticRepositoryList{}
	if err := r.Client.List(ctx, repositories, client.InNamespace(location.GetNamespace())); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing the repositories of a storage location")
		return nil
	}
	var requests []reconcile.Request
	for i := range repositories.Items {
		if repositories.Items[i].Spec.BackupStorageLocation == location.GetName() {
			requests = append(requests,
				reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&repositories.Items[i])})
		}
	}
	return requests
}

// failedNow lets through that an operation has failed. Its repository may be the reason, and is looked at.
func failedNow() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, knownBefore := e.ObjectOld.(resticv1.VolumeOperation)
			now, knownNow := e.ObjectNew.(resticv1.VolumeOperation)
			return knownBefore && knownNow && before.VolumeStatus().Phase != resticv1.PhaseFailed &&
				now.VolumeStatus().Phase == resticv1.PhaseFailed
		},
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

func requestsForFailed(_ context.Context, object client.Object) []reconcile.Request {
	name := ""
	switch operation := object.(type) {
	case *resticv1.PodVolumeBackup:
		name = operation.Spec.Repository
	case *resticv1.PodVolumeRestore:
		name = operation.Spec.Repository
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: object.GetNamespace(), Name: name}}}
}

// Reconcile looks at one repository when it is due, and saves its status if that has changed.
func (r *RepositoryReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	repository := &resticv1.ResticRepository{}
	if err := r.Client.Get(ctx, request.NamespacedName, repository); err != nil {
		if apierrors.IsNotFound(err) {
			// The job's outcome must not become that of another object of the same name.
			r.Jobs.Cancel(request.String(), errObjectGone())
			r.Jobs.Remove(request.String())
			r.Metrics.RepositoryGone(request.Name)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if repository.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	state, found := r.Jobs.State(request.String())
	switch {
	case !found:
		return ctrl.Result{}, r.submit(request.String(), repository)
	case state.Phase != transfer.Done:
		return ctrl.Result{}, nil
	}
	r.Jobs.Remove(request.String())
	if errors.Is(state.Err, transfer.ErrStopping) {
		return ctrl.Result{}, nil
	}
	if err := r.save(ctx, repository, state); err != nil {
		return ctrl.Result{}, err
	}
	r.Metrics.RepositoryReady(repository)
	if repository.Status.Phase != resticv1.RepositoryReady {
		return ctrl.Result{RequeueAfter: recheckNotReady}, nil
	}
	return ctrl.Result{RequeueAfter: recheckReady}, nil
}

func (r *RepositoryReconciler) submit(key string, repository *resticv1.ResticRepository) error {
	request := transfer.ProbeRequest{
		Repository: transfer.Repository{
			Location: repository.Spec.BackupStorageLocation, Namespace: repository.Spec.VolumeNamespace,
		},
		KnownID:        repository.Status.RepositoryID,
		AllowWellKnown: r.AllowStaticPassword,
		OpenOnly:       repository.Spec.OpenOnly,
	}
	return r.Jobs.Submit(key, "", probeTimeout,
		func(ctx context.Context, report func(transfer.Progress)) (transfer.ProbeOutcome, error) {
			return r.Probe(ctx, request, report)
		})
}

func (r *RepositoryReconciler) save(
	ctx context.Context, repository *resticv1.ResticRepository, state transfer.State[transfer.ProbeOutcome],
) error {
	old := repository.DeepCopy()
	r.judge(repository, state)
	if equality.Semantic.DeepEqual(old.Status, repository.Status) {
		return nil
	}
	err := r.Client.Status().Patch(ctx, repository, client.MergeFrom(old))
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("saving the status of ResticRepository %s: %w", repository.Name, err)
	}
	r.tell(old, repository, state.Result.Made)
	return nil
}

// judge writes what the probe has found into the status.
func (r *RepositoryReconciler) judge(
	repository *resticv1.ResticRepository, state transfer.State[transfer.ProbeOutcome],
) {
	status := &repository.Status
	status.ObservedGeneration = repository.Generation
	if state.Result.URL != "" {
		status.ResticIdentifier = state.Result.URL
	}
	if state.Err != nil {
		status.Phase, status.Message = resticv1.RepositoryNotReady, state.Err.Error()
		return
	}
	now := metav1.NewTime(r.Clock.Now())
	status.LastOpenedTime = &now
	if known := status.RepositoryID; known != "" && known != state.Result.ID {
		status.Phase = resticv1.RepositoryNotReady
		status.Message = fmt.Sprintf("the repository at %s is another one than before (id %.8s, was %.8s): point the "+
			"storage location at the right place, or delete this ResticRepository to go on with the new one",
			status.ResticIdentifier, state.Result.ID, known)
		return
	}
	status.Phase, status.Message, status.RepositoryID = resticv1.RepositoryReady, "", state.Result.ID
}

func (r *RepositoryReconciler) tell(old, repository *resticv1.ResticRepository, made bool) {
	if old.Status.Phase == repository.Status.Phase && old.Status.Message == repository.Status.Message {
		return
	}
	if repository.Status.Phase != resticv1.RepositoryReady {
		r.Recorder.Event(repository, corev1.EventTypeWarning, resticv1.ReasonRepositoryNotReady,
			Clip(repository.Status.Message))
		return
	}
	message := "The repository opens with its password"
	if made {
		message = "The repository was made"
	}
	r.Recorder.Event(repository, corev1.EventTypeNormal, resticv1.ReasonRepositoryReady, message)
}
