// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package restore reconciles PodVolumeRestores.
package restore

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/hostpath"
	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	"github.com/velero-restic/velero-plugin-for-restic/agent/status"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/agent/volume"
	"github.com/velero-restic/velero-plugin-for-restic/agent/waiting"
	"github.com/velero-restic/velero-plugin-for-restic/agent/worker"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/repository"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// Markers are the files by which the agent tells a restored pod's init container how its volumes are. A volume is
// named as it is to be found on this node.
type Markers interface {
	// Ensure writes the marker of the restore: done for an empty reason, else failed. Writing it again is no error.
	Ensure(volume hostpath.Volume, restoreUID, reason string) error
	// Remove takes the markers of the restore away. It is no error if there are none, or no volume any more.
	Remove(volume hostpath.Volume, restoreUID string) error
}

// Reconciler carries out the PodVolumeRestores whose pods are on its node.
type Reconciler struct {
	volume.NodeOptions

	// Jobs runs the transfers.
	Jobs *transfer.Pool[transfer.RestoreOutcome]
	// Restore does one: transfer.Mover.Restore.
	Restore func(context.Context, transfer.RestoreRequest, func(transfer.Progress)) (transfer.RestoreOutcome, error)
	// Markers tells the pod.
	Markers Markers
}

// Reconcile moves one PodVolumeRestore on, tells the pod, and saves the status if that has changed.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	restore := &resticv1.PodVolumeRestore{}
	if err := r.Client.Get(ctx, request.NamespacedName, restore); err != nil {
		if apierrors.IsNotFound(err) {
			r.lifecycle().Drop(request.String(), volume.ErrObjectGone())
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if restore.Skipped() != nil || restore.Status.MarkerRemoved {
		r.lifecycle().Drop(request.String(), volume.ErrEnded())
		return ctrl.Result{}, nil
	}
	pod, err := r.podOf(ctx, restore)
	if err != nil {
		return ctrl.Result{}, err
	}
	saved := restore.DeepCopy()
	save := func(ctx context.Context) error {
		err := r.save(ctx, saved, restore, pod)
		saved = restore.DeepCopy()
		return err
	}
	result, err := r.reconcile(ctx, request.String(), restore, pod, save)
	if err == nil {
		err = save(ctx)
	}
	return worker.RequeueOnConflict(result, err)
}

// podOf returns the restored pod if it is on this node, else nil.
func (r *Reconciler) podOf(ctx context.Context, restore *resticv1.PodVolumeRestore) (*corev1.Pod, error) {
	pod := &corev1.Pod{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: restore.Spec.Pod.Namespace, Name: restore.Spec.Pod.Name}, pod)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the restored pod: %w", err)
	}
	return pod, nil
}

func (r *Reconciler) reconcile(
	ctx context.Context, key string, restore *resticv1.PodVolumeRestore, pod *corev1.Pod,
	save func(context.Context) error,
) (ctrl.Result, error) {
	if restore.Status.Phase.Final() {
		r.lifecycle().Drop(key, volume.ErrEnded())
		if _, busy := r.Jobs.State(key); busy {
			// restic is still being stopped: the volume is not to be touched beside it.
			return ctrl.Result{RequeueAfter: r.ProgressInterval}, nil
		}
		return r.syncMarker(ctx, restore, pod)
	}
	helper := helperOf(pod, restore.Spec.RestoreUID)
	switch {
	case pod == nil && restore.Status.Node == r.Node:
		// The pod was here and is gone, and the volume of a transfer that runs with it.
		r.lifecycle().Drop(key, volume.ErrObjectGone())
		volume.Finish(&restore.Status.VolumeStatus, resticv1.PhaseFailed, fmt.Sprintf("pod %s/%s was deleted before "+
			"its volume was restored", restore.Spec.Pod.Namespace, restore.Spec.Pod.Name), r.Clock)
		return ctrl.Result{}, nil
	case pod == nil, helper.absent():
		// On another node, or another pod of the same name. The leader minds those that never come.
		return ctrl.Result{}, nil
	case helper.terminated():
		r.lifecycle().Drop(key, volume.ErrEnded())
		if sibling, err := r.completeFromSibling(ctx, restore, helper); err != nil || sibling != nil {
			return ctrl.Result{}, err
		}
		volume.Finish(&restore.Status.VolumeStatus, resticv1.PhaseFailed, fmt.Sprintf("init container %s of pod %s/%s "+
			"ended before the volume was restored", contract.RestoreContainer, pod.Namespace, pod.Name), r.Clock)
		return ctrl.Result{}, nil
	case !helper.running():
		return r.awaitHelper(key, restore, helper)
	}
	restore.Status.Node = r.Node
	return r.lifecycle().Advance(ctx, key, restore, volume.Steps[transfer.RestoreOutcome]{
		Prepare: func(ctx context.Context) (volume.Plan[transfer.RestoreOutcome], error) {
			return r.prepare(ctx, restore, pod)
		},
		Save:   save,
		Record: func(outcome transfer.RestoreOutcome, _ error) { recordRestore(restore, outcome) },
		Locked: func(ctx context.Context, err error) error { return r.ReportLock(ctx, restore.Spec.Repository, err) },
	})
}

// awaitHelper says what keeps the init container from running, and minds the deadline meanwhile.
func (r *Reconciler) awaitHelper(
	key string, restore *resticv1.PodVolumeRestore, helper helper,
) (ctrl.Result, error) {
	l := r.lifecycle()
	if stop := l.StopReason(restore); stop != nil {
		l.Drop(key, stop)
		l.Finish(&restore.Status.VolumeStatus, resticv1.PhaseCanceled, stop.Error())
		return ctrl.Result{}, nil
	}
	if _, busy := r.Jobs.State(key); !busy {
		l.Wait(&restore.Status.VolumeStatus, waiting.Cause{
			Reason:  resticv1.WaitingForInitContainer,
			Message: "init container " + contract.RestoreContainer + " is not running" + helper.waitingReason(),
		})
	}
	return ctrl.Result{RequeueAfter: volume.HeartbeatInterval}, nil
}

func (r *Reconciler) lifecycle() *volume.Lifecycle[transfer.RestoreOutcome] {
	return &volume.Lifecycle[transfer.RestoreOutcome]{
		Agent: r.Pod, Jobs: r.Jobs, Clock: r.Clock, ProgressInterval: r.ProgressInterval,
	}
}

// syncMarker makes the volume say what the final phase is for as long as the init container looks, and cleans up after
// it.
func (r *Reconciler) syncMarker(
	ctx context.Context, restore *resticv1.PodVolumeRestore, pod *corev1.Pod,
) (ctrl.Result, error) {
	helper := helperOf(pod, restore.Spec.RestoreUID)
	if pod == nil || helper.absent() {
		// The markers went with the pod, or the pod is not this node's. A claim's volume may keep them: the next backup
		// leaves them out, and the next restore removes them.
		return ctrl.Result{}, nil
	}
	target, err := volume.Resolve(ctx, r.Reader, pod, restore.Spec.Volume)
	if apierrors.IsNotFound(err) {
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	switch {
	case helper.running():
		reason := ""
		if restore.Status.Phase != resticv1.PhaseCompleted {
			reason = fmt.Sprintf("%s: %s", restore.Status.Phase, restore.Status.Message)
		}
		if err := r.Markers.Ensure(target, restore.Spec.RestoreUID, reason); err != nil {
			return ctrl.Result{}, fmt.Errorf("telling the pod: %w", err)
		}
		return ctrl.Result{RequeueAfter: volume.WaitInterval}, nil
	case helper.terminated():
		if err := r.Markers.Remove(target, restore.Spec.RestoreUID); err != nil {
			return ctrl.Result{}, fmt.Errorf("removing the marker: %w", err)
		}
		restore.Status.MarkerRemoved = true
	}
	return ctrl.Result{}, nil
}

// save writes a changed status, unless the object has changed meanwhile: its new state comes by another event.
func (r *Reconciler) save(
	ctx context.Context, old, restore *resticv1.PodVolumeRestore, pod *corev1.Pod,
) error {
	saved, err := status.Save(ctx, r.Client, old, restore)
	if err != nil || !saved {
		return err
	}
	if old.Status.Phase != restore.Status.Phase && restore.Status.Phase != resticv1.PhaseNew {
		reference := restore.Spec.Pod
		if pod != nil {
			reference.UID = pod.UID // without it `kubectl describe pod` does not show the Event
		}
		r.Announcer.Announce(metric.Restore, restore, reference, restore.Spec.Volume)
	}
	return nil
}

func (r *Reconciler) prepare(
	ctx context.Context, restore *resticv1.PodVolumeRestore, pod *corev1.Pod,
) (volume.Plan[transfer.RestoreOutcome], error) {
	var next volume.Plan[transfer.RestoreOutcome]
	source := transfer.Repository{
		Location: restore.Spec.BackupStorageLocation, Namespace: restore.Spec.SourceNamespace,
	}
	wanted := repository.ForNamespace(r.Namespace, source.Namespace, source.Location, 0)
	wanted.Spec.OpenOnly = true
	found, err := volume.EnsureRepository(ctx, r.Client, wanted)
	if err != nil {
		return next, err
	}
	if next.Wait, next.Fail = r.Ready(found, restore); !next.Wait.None() || next.Fail != "" {
		return next, nil
	}
	target, err := volume.Resolve(ctx, r.Reader, pod, restore.Spec.Volume)
	if apierrors.IsNotFound(err) {
		next.Fail = err.Error()
		return next, nil
	}
	if err != nil {
		return next, err
	}
	if next.Exclusive = claimKey(restore); next.Exclusive != "" {
		sibling, err := r.siblingRestore(ctx, r.Client, restore, client.MatchingFields{indexClaim: next.Exclusive})
		if err != nil {
			return next, err
		}
		if sibling != nil {
			// Nothing of this one runs: an attempt that an agent was killed in must not make the sibling wait in turn.
			restore.Status.Attempts = 0
			return planAfterSibling(restore, sibling), nil
		}
		next.Confirm = func(ctx context.Context) (waiting.Cause, time.Duration, error) {
			return r.yieldToSibling(ctx, restore)
		}
	}
	request := transfer.RestoreRequest{
		Repository: source, Volume: target, SnapshotID: restore.Spec.SnapshotID,
		SnapshotTags: restore.Spec.SnapshotTags, Sparse: restore.Spec.WriteSparseFiles,
	}
	next.Work = func(ctx context.Context, report func(transfer.Progress)) (transfer.RestoreOutcome, error) {
		return r.Restore(ctx, request, report)
	}
	return next, nil
}

func recordRestore(restore *resticv1.PodVolumeRestore, outcome transfer.RestoreOutcome) {
	status := &restore.Status
	status.SnapshotID = outcome.SnapshotID
	volume.SetWarnings(&status.VolumeStatus, restic.Warnings{
		First: slices.Concat(restore.Spec.Warnings, outcome.Warnings.First),
		Count: outcome.Warnings.Count + int64(len(restore.Spec.Warnings)),
	})
	if outcome.TotalBytes > 0 {
		status.Progress = resticv1.VolumeProgress{TotalBytes: outcome.TotalBytes, BytesDone: outcome.TotalBytes}
	}
}
