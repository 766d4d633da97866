// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package maintenance checks, prunes, unlocks and lists repositories, when it is due or requested, by Jobs.
package maintenance

import (
	"context"
	"fmt"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"

	"github.com/velero-restic/velero-plugin-for-restic/agent/condition"
	"github.com/velero-restic/velero-plugin-for-restic/agent/event"
	"github.com/velero-restic/velero-plugin-for-restic/agent/maintenance/jobspec"
	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	"github.com/velero-restic/velero-plugin-for-restic/agent/occupied"
	"github.com/velero-restic/velero-plugin-for-restic/agent/status"
	"github.com/velero-restic/velero-plugin-for-restic/agent/waiting"
	"github.com/velero-restic/velero-plugin-for-restic/agent/worker"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

const (
	// maintenanceInterval is how soon what keeps an operation from being done, and a Job that runs, is looked at again.
	maintenanceInterval = 15 * time.Second
	// reviewInterval is how often a repository is looked at of which nothing is due: its storage location may change.
	reviewInterval = time.Hour
)

// Reconciler has repositories checked, pruned, unlocked and listed by Jobs. It runs in the leader alone, and
// keeps nothing to itself: an entry in the status comes before its Job, so that whoever leads next goes on.
type Reconciler struct {
	// Client reads from the cache, and writes.
	Client client.Client
	// Reader reads from the API server.
	Reader client.Reader
	// Recorder tells of what is done.
	Recorder record.EventRecorder
	// Metrics counts.
	Metrics *metric.Set
	// ConfigMap is the name of the one that says how Jobs are made.
	ConfigMap string
	// Clock tells the time.
	Clock clock.PassiveClock
}

// Checks, prunes, unlocks and lists run as Jobs.
//
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get;list;watch;create;delete,namespace=velero

// SetupWithManager registers the reconciler. One worker looks at one repository after the other, so that no more Jobs
// are made than allowed.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	options := worker.LeaderOnly()
	return ctrl.NewControllerManagedBy(mgr).Named("maintenance").For(&resticv1.ResticRepository{}).
		Owns(&batchv1.Job{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: 1, SkipNameValidation: options.SkipNameValidation}).
		Complete(r)
}

// Reconcile does what is due to one repository, and saves its status if that has changed.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	repository := &resticv1.ResticRepository{}
	if err := r.Client.Get(ctx, request.NamespacedName, repository); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if repository.DeletionTimestamp != nil {
		return ctrl.Result{}, nil
	}
	old := repository.DeepCopy()
	result, err := r.reconcile(ctx, repository)
	if err != nil {
		return worker.RequeueOnConflict(result, err)
	}
	saved, err := status.Save(ctx, r.Client, old, repository)
	if err != nil || !saved {
		return worker.RequeueOnConflict(result, err)
	}
	r.Metrics.Maintained(repository)
	r.recordEvents(old, repository)
	return result, nil
}

func (r *Reconciler) reconcile(
	ctx context.Context, repository *resticv1.ResticRepository,
) (ctrl.Result, error) {
	settings, problems, err := r.settings(ctx, repository)
	if err != nil {
		return ctrl.Result{}, err
	}
	listed, err := r.list(ctx, repository, settings)
	if err != nil {
		return ctrl.Result{}, err
	}
	maintained, err := r.maintain(ctx, repository, settings, problems)
	return earliest(listed, maintained), err
}

// maintain does what is due, one operation after the other.
func (r *Reconciler) maintain(
	ctx context.Context, repository *resticv1.ResticRepository, settings jobspec.Settings, problems []string,
) (ctrl.Result, error) {
	pending := repository.Status.Pending
	repository.Status.Pending = nil
	if running := occupied.RunningJob(repository); running != nil {
		return r.observe(ctx, repository, running, settings)
	}
	readOnly, err := r.readOnly(ctx, repository)
	if err != nil {
		return ctrl.Result{}, err
	}
	next, delay := nextDue(repository, readOnly, r.Clock.Now())
	if next == nil {
		r.setMaintained(repository)
		if delay == 0 || delay > reviewInterval {
			delay = reviewInterval
		}
		return ctrl.Result{RequeueAfter: delay}, nil
	}
	wait, err := r.waitingFor(ctx, repository, next, settings)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !wait.None() {
		setPending(repository, pending, next, wait)
		return ctrl.Result{RequeueAfter: maintenanceInterval}, nil
	}
	for _, problem := range problems {
		r.Recorder.Event(repository, corev1.EventTypeWarning, resticv1.ReasonBadConfiguration, event.Clip(problem))
	}
	r.begin(repository, next)
	return ctrl.Result{RequeueAfter: time.Second}, nil
}

// setPending writes into the status that an operation is due and waits. It keeps the time since when, which nextDue
// does not know for a request.
func setPending(
	repository *resticv1.ResticRepository, before *resticv1.PendingMaintenance, next *due, wait waiting.Cause,
) {
	pending := &resticv1.PendingMaintenance{
		Operation: next.operation, Request: next.request, Since: metav1.NewTime(next.since.Truncate(time.Second)),
		Reason: wait.Reason, Message: wait.Message,
	}
	if before != nil && before.Operation == next.operation && before.Request == next.request {
		pending.Since = before.Since
	}
	repository.Status.Pending = pending
	condition.Set(repository, resticv1.ConditionMaintained, metav1.ConditionFalse, resticv1.ReasonWaiting,
		fmt.Sprintf("%s is due since %s and is waiting: %s", next.operation, pending.Since.UTC().Format(time.RFC3339),
			wait.Message))
}

// begin writes the entry of an operation. Its Job is made once that is saved: see observe.
func (r *Reconciler) begin(repository *resticv1.ResticRepository, next *due) {
	entry := resticv1.Maintenance{
		Operation: next.operation, Result: resticv1.MaintenanceRunning, Request: next.request, Host: next.host,
		StartTime: metav1.NewTime(r.Clock.Now().Truncate(time.Second)),
	}
	if parts := repository.Spec.CheckParts; next.operation == resticv1.OperationCheck && parts > 0 {
		entry.Part = max(repository.Status.NextCheckPart, 1)
		if entry.Part > parts {
			entry.Part = 1
		}
	}
	entry.Job = jobspec.Name(repository, &entry)
	markServed(repository, next.operation, next.request)
	addToHistory(repository, entry)
}

// setMaintained says in the condition Maintained how the last operations went.
func (r *Reconciler) setMaintained(repository *resticv1.ResticRepository) {
	for _, operation := range []resticv1.MaintenanceOperation{resticv1.OperationPrune, resticv1.OperationCheck} {
		last := lastMaintenance(repository, operation)
		if last != nil && last.Result == resticv1.MaintenanceFailed {
			condition.Set(repository, resticv1.ConditionMaintained, metav1.ConditionFalse,
				resticv1.ReasonMaintenanceFailed, fmt.Sprintf("%s by Job %s: %s", operation, last.Job, last.Message))
			return
		}
	}
	condition.Set(repository, resticv1.ConditionMaintained, metav1.ConditionTrue, resticv1.ReasonMaintained, "")
}

// waitingFor returns what an operation must wait for.
func (r *Reconciler) waitingFor(
	ctx context.Context, repository *resticv1.ResticRepository, next *due, settings jobspec.Settings,
) (waiting.Cause, error) {
	if repository.Status.Phase != resticv1.RepositoryReady {
		return waiting.Cause{
			Reason: resticv1.WaitingForRepository, Message: "the repository is not ready: " + repository.Status.Message,
		}, nil
	}
	if _, err := r.daemonSet(ctx, repository.Namespace); err != nil {
		if apierrors.IsNotFound(err) {
			return waiting.Cause{
				Reason: resticv1.WaitingForDaemonSet, Message: noDaemonSet(repository.Namespace),
			}, nil
		}
		return waiting.Cause{}, err
	}
	if !occupied.IsExclusive(next.operation) {
		return waiting.Cause{}, nil
	}
	if meta.IsStatusConditionFalse(repository.Status.Conditions, resticv1.ConditionUnlocked) {
		return waiting.Cause{
			Reason:  resticv1.WaitingForLock,
			Message: meta.FindStatusCondition(repository.Status.Conditions, resticv1.ConditionUnlocked).Message,
		}, nil
	}
	if active, err := r.activeOperation(ctx, repository); err != nil || !active.None() {
		return active, err
	}
	return r.jobLimit(ctx, repository.Namespace, ptr.Deref(settings.Concurrency, jobspec.DefaultConcurrency))
}

func noDaemonSet(namespace string) string {
	return fmt.Sprintf("there is no DaemonSet %s/%s to make the Job from: install the agents again", namespace,
		contract.DaemonSetName)
}

// activeOperation returns a backup that is in progress in the repository, or a restore that is not done.
func (r *Reconciler) activeOperation(
	ctx context.Context, repository *resticv1.ResticRepository,
) (waiting.Cause, error) {
	backups := &resticv1.PodVolumeBackupList{}
	if err := r.Client.List(ctx, backups, client.InNamespace(repository.Namespace)); err != nil {
		return waiting.Cause{}, fmt.Errorf("listing PodVolumeBackups: %w", err)
	}
	for i := range backups.Items {
		backup := &backups.Items[i]
		if backup.Spec.Repository == repository.Name && backup.Status.Phase == resticv1.PhaseInProgress {
			return waiting.Cause{
				Reason: resticv1.WaitingForBackup, Message: "PodVolumeBackup " + backup.Name + " is in progress",
			}, nil
		}
	}
	restore, err := r.pendingRestore(ctx, repository)
	if err != nil || restore == "" {
		return waiting.Cause{}, err
	}
	return waiting.Cause{
		Reason: resticv1.WaitingForRestore, Message: "PodVolumeRestore " + restore + " is not done",
	}, nil
}

// pendingRestore names a restore from the repository that is not done; empty if there is none. Somebody waits for it,
// so that it comes before any maintenance, even before it has begun.
func (r *Reconciler) pendingRestore(ctx context.Context, repository *resticv1.ResticRepository) (string, error) {
	restores := &resticv1.PodVolumeRestoreList{}
	if err := r.Client.List(ctx, restores, client.InNamespace(repository.Namespace)); err != nil {
		return "", fmt.Errorf("listing PodVolumeRestores: %w", err)
	}
	for i := range restores.Items {
		restore := &restores.Items[i]
		if restore.Spec.Repository == repository.Name && !restore.Status.Phase.Final() && restore.Skipped() == nil {
			return restore.Name, nil
		}
	}
	return "", nil
}

// jobLimit returns a cause if as many Jobs run as the settings allow. It reads from the API server, because the cache
// may lack what this worker has just written.
func (r *Reconciler) jobLimit(ctx context.Context, namespace string, limit int) (waiting.Cause, error) {
	all := &resticv1.ResticRepositoryList{}
	if err := r.Reader.List(ctx, all, client.InNamespace(namespace)); err != nil {
		return waiting.Cause{}, fmt.Errorf("listing repositories: %w", err)
	}
	running := 0
	for i := range all.Items {
		if occupied.ByJob(&all.Items[i]) != "" {
			running++
		}
	}
	if running < limit {
		return waiting.Cause{}, nil
	}
	return waiting.Cause{
		Reason: resticv1.WaitingForSlot,
		Message: fmt.Sprintf("%d Jobs for other repositories are running, as many as concurrency in ConfigMap %s/%s "+
			"allows", running, namespace, r.ConfigMap),
	}, nil
}

func (r *Reconciler) readOnly(ctx context.Context, repository *resticv1.ResticRepository) (bool, error) {
	location := &velerov1.BackupStorageLocation{}
	key := client.ObjectKey{Namespace: repository.Namespace, Name: repository.Spec.BackupStorageLocation}
	err := r.Client.Get(ctx, key, location)
	if apierrors.IsNotFound(err) {
		return true, nil // nothing can be done to it; that it is not ready says why
	}
	if err != nil {
		return false, fmt.Errorf("reading BackupStorageLocation %s: %w", key.Name, err)
	}
	return location.Spec.AccessMode == velerov1.BackupStorageLocationAccessModeReadOnly, nil
}

// Jobs are created from the agents' DaemonSet.
//
// +kubebuilder:rbac:groups=apps,resources=daemonsets,resourceNames=restic,verbs=get,namespace=velero

func (r *Reconciler) daemonSet(ctx context.Context, namespace string) (*appsv1.DaemonSet, error) {
	daemonSet := &appsv1.DaemonSet{}
	key := client.ObjectKey{Namespace: namespace, Name: contract.DaemonSetName}
	if err := r.Reader.Get(ctx, key, daemonSet); err != nil {
		return nil, fmt.Errorf("reading DaemonSet %s: %w", key, err)
	}
	return daemonSet, nil
}

// This ConfigMap has the settings of maintenance.
//
// +kubebuilder:rbac:groups="",resources=configmaps,resourceNames=velero-restic-maintenance,verbs=get,namespace=velero

// settings reads the ConfigMap, and returns what is wrong with it besides.
func (r *Reconciler) settings(
	ctx context.Context, repository *resticv1.ResticRepository,
) (jobspec.Settings, []string, error) {
	config := &corev1.ConfigMap{}
	key := client.ObjectKey{Namespace: repository.Namespace, Name: r.ConfigMap}
	err := r.Reader.Get(ctx, key, config)
	if apierrors.IsNotFound(err) {
		return jobspec.Settings{}, nil, nil
	}
	if err != nil {
		return jobspec.Settings{}, nil, fmt.Errorf("reading ConfigMap %s: %w", key, err)
	}
	settings, problems := jobspec.ReadSettings(config, repository)
	return settings, problems, nil
}
