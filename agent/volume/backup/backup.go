// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package backup reconciles PodVolumeBackups.
package backup

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	"github.com/velero-restic/velero-plugin-for-restic/agent/status"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/agent/volume"
	"github.com/velero-restic/velero-plugin-for-restic/agent/worker"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/repository"
)

// Reconciler carries out the PodVolumeBackups of its node.
type Reconciler struct {
	volume.NodeOptions

	// Jobs runs the transfers.
	Jobs *transfer.Pool[transfer.BackupOutcome]
	// Backup does one: transfer.Mover.Backup.
	Backup func(context.Context, transfer.BackupRequest, func(transfer.Progress)) (transfer.BackupOutcome, error)
}

// Reconcile moves one PodVolumeBackup on and saves its status if that has changed.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	backup := &resticv1.PodVolumeBackup{}
	if err := r.Client.Get(ctx, request.NamespacedName, backup); err != nil {
		if apierrors.IsNotFound(err) {
			r.lifecycle().Drop(request.String(), volume.ErrObjectGone())
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if backup.Skipped() != nil {
		return ctrl.Result{}, nil
	}
	saved := backup.DeepCopy()
	save := func(ctx context.Context) error {
		err := r.save(ctx, saved, backup)
		saved = backup.DeepCopy()
		return err
	}
	result, err := r.lifecycle().Advance(ctx, request.String(), backup, volume.Steps[transfer.BackupOutcome]{
		Prepare: func(ctx context.Context) (volume.Plan[transfer.BackupOutcome], error) {
			return r.prepare(ctx, backup)
		},
		Save:   save,
		Record: func(outcome transfer.BackupOutcome, _ error) { recordBackup(backup, outcome) },
		Locked: func(ctx context.Context, err error) error { return r.ReportLock(ctx, backup.Spec.Repository, err) },
	})
	if err == nil {
		err = save(ctx)
	}
	return worker.RequeueOnConflict(result, err)
}

func (r *Reconciler) lifecycle() *volume.Lifecycle[transfer.BackupOutcome] {
	return &volume.Lifecycle[transfer.BackupOutcome]{
		Agent: r.Pod, Jobs: r.Jobs, Clock: r.Clock, ProgressInterval: r.ProgressInterval,
	}
}

// save writes a changed status, unless the object has changed meanwhile: its new state comes by another event.
func (r *Reconciler) save(ctx context.Context, old, backup *resticv1.PodVolumeBackup) error {
	saved, err := status.Save(ctx, r.Client, old, backup)
	if err != nil || !saved {
		return err
	}
	if old.Status.Phase != backup.Status.Phase && backup.Status.Phase != resticv1.PhaseNew {
		r.Announcer.Announce(metric.Backup, backup, backup.Spec.Pod, backup.Spec.Volume)
	}
	return nil
}

func (r *Reconciler) prepare(
	ctx context.Context, backup *resticv1.PodVolumeBackup,
) (volume.Plan[transfer.BackupOutcome], error) {
	var next volume.Plan[transfer.BackupOutcome]
	source := backup.Spec.Pod
	wanted := repository.ForNamespace(r.Namespace, source.Namespace, backup.Spec.BackupStorageLocation, 0)
	found, err := volume.EnsureRepository(ctx, r.Client, wanted)
	if err != nil {
		return next, err
	}
	if next.Wait, next.Fail = r.Ready(found, backup); !next.Wait.None() || next.Fail != "" {
		return next, nil
	}
	pod := &corev1.Pod{}
	err = r.Reader.Get(ctx, client.ObjectKey{Namespace: source.Namespace, Name: source.Name}, pod)
	if apierrors.IsNotFound(err) || (err == nil && pod.UID != source.UID) {
		next.Fail = fmt.Sprintf("pod %s/%s (uid %s) is gone: its volume can no longer be read", source.Namespace,
			source.Name, source.UID)
		return next, nil
	}
	if err != nil {
		return next, fmt.Errorf("reading pod %s/%s: %w", source.Namespace, source.Name, err)
	}
	target, err := volume.Resolve(ctx, r.Reader, pod, backup.Spec.Volume)
	if apierrors.IsNotFound(err) {
		next.Fail = err.Error()
		return next, nil
	}
	if err != nil {
		return next, err
	}
	parent, err := r.parent(ctx, backup)
	if err != nil {
		return next, err
	}
	transferRequest := transfer.BackupRequest{
		Repository: transfer.Repository{Location: backup.Spec.BackupStorageLocation, Namespace: source.Namespace},
		Volume:     target, Tags: tagsOf(backup), Parent: parent, Repeated: backup.Status.Attempts > 0,
	}
	next.Work = func(ctx context.Context, report func(transfer.Progress)) (transfer.BackupOutcome, error) {
		return r.Backup(ctx, transferRequest, report)
	}
	return next, nil
}

// parent returns the snapshot of the newest completed backup of the same claim in the same storage location, whichever
// pod and node it was taken from.
func (r *Reconciler) parent(ctx context.Context, backup *resticv1.PodVolumeBackup) (string, error) {
	claim := backup.Labels[contract.LabelPVCUID]
	if claim == "" {
		return "", nil
	}
	earlier := &resticv1.PodVolumeBackupList{}
	if err := r.Reader.List(ctx, earlier, client.InNamespace(r.Namespace),
		client.MatchingLabels{contract.LabelPVCUID: claim}); err != nil {
		return "", fmt.Errorf("listing earlier backups of the claim: %w", err)
	}
	var newest *resticv1.PodVolumeBackup
	for i := range earlier.Items {
		candidate := &earlier.Items[i]
		if !canBeParent(candidate, backup) {
			continue
		}
		if newest == nil || newest.Status.CompletionTimestamp.Before(candidate.Status.CompletionTimestamp) {
			newest = candidate
		}
	}
	if newest == nil {
		return "", nil
	}
	return newest.Status.SnapshotID, nil
}

func canBeParent(candidate, backup *resticv1.PodVolumeBackup) bool {
	return candidate.Status.Phase == resticv1.PhaseCompleted && candidate.Status.SnapshotID != "" &&
		candidate.Status.CompletionTimestamp != nil && !candidate.Spec.Forget &&
		candidate.Spec.BackupStorageLocation == backup.Spec.BackupStorageLocation &&
		candidate.Spec.Pod.Namespace == backup.Spec.Pod.Namespace
}

func tagsOf(backup *resticv1.PodVolumeBackup) map[string]string {
	tags := map[string]string{contract.TagPodVolumeBackup: backup.Name}
	for key, value := range backup.Spec.Tags {
		tags[key] = value
	}
	return tags
}

func recordBackup(backup *resticv1.PodVolumeBackup, outcome transfer.BackupOutcome) {
	status := &backup.Status
	status.Path = outcome.Path
	status.SnapshotID = outcome.SnapshotID
	volume.SetWarnings(&status.VolumeStatus, outcome.Warnings)
	if outcome.SnapshotID == "" {
		return
	}
	status.ParentSnapshotID = outcome.Parent
	status.Progress = resticv1.VolumeProgress{
		TotalBytes: outcome.Summary.TotalBytesProcessed, BytesDone: outcome.Summary.TotalBytesProcessed,
	}
	status.Summary = &resticv1.BackupSummary{
		FilesNew: outcome.Summary.FilesNew, FilesChanged: outcome.Summary.FilesChanged,
		FilesUnmodified: outcome.Summary.FilesUnmodified, BytesProcessed: outcome.Summary.TotalBytesProcessed,
		BytesAdded: outcome.Summary.DataAdded, BytesAddedPacked: outcome.Summary.DataAddedPacked,
	}
}
