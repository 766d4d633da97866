// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package repository opens the repositories, creates the missing ones, and writes into each ResticRepository whether it
// is ready.
package repository

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/event"
	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	"github.com/velero-restic/velero-plugin-for-restic/agent/status"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/agent/worker"
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

// Reconciler opens repositories, makes those that are missing, and says how they are. It runs in the leader
// alone, so that no two agents make the same one.
type Reconciler struct {
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

// Reconcile looks at one repository when it is due, and saves its status if that has changed.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	repository := &resticv1.ResticRepository{}
	if err := r.Client.Get(ctx, request.NamespacedName, repository); err != nil {
		if apierrors.IsNotFound(err) {
			// The job's outcome must not become that of another object of the same name.
			r.Jobs.Cancel(request.String(), worker.ErrObjectGone)
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
	if errors.Is(state.Err, transfer.ErrStopping) {
		r.Jobs.Remove(request.String())
		return ctrl.Result{}, nil
	}
	// The outcome stays until it is saved, so that a conflict costs no second probe.
	if err := r.save(ctx, repository, state); err != nil {
		return worker.RequeueOnConflict(ctrl.Result{}, err)
	}
	r.Jobs.Remove(request.String())
	r.Metrics.RepositoryReady(repository)
	if repository.Status.Phase != resticv1.RepositoryReady {
		return ctrl.Result{RequeueAfter: recheckNotReady}, nil
	}
	return ctrl.Result{RequeueAfter: recheckReady}, nil
}

func (r *Reconciler) submit(key string, repository *resticv1.ResticRepository) error {
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

func (r *Reconciler) save(
	ctx context.Context, repository *resticv1.ResticRepository, state transfer.State[transfer.ProbeOutcome],
) error {
	old := repository.DeepCopy()
	r.applyProbe(repository, state)
	saved, err := status.Save(ctx, r.Client, old, repository)
	if err != nil || !saved {
		return err
	}
	r.recordEvent(old, repository, state.Result.Made)
	return nil
}

// applyProbe writes what the probe has found into the status.
func (r *Reconciler) applyProbe(
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

func (r *Reconciler) recordEvent(old, repository *resticv1.ResticRepository, made bool) {
	if old.Status.Phase == repository.Status.Phase && old.Status.Message == repository.Status.Message {
		return
	}
	if repository.Status.Phase != resticv1.RepositoryReady {
		r.Recorder.Event(repository, corev1.EventTypeWarning, resticv1.ReasonRepositoryNotReady,
			event.Clip(repository.Status.Message))
		return
	}
	message := "The repository opens with its password"
	if made {
		message = "The repository was made"
	}
	r.Recorder.Event(repository, corev1.EventTypeNormal, resticv1.ReasonRepositoryReady, message)
}
