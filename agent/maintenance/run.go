// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package maintenance

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/condition"
	"github.com/velero-restic/velero-plugin-for-restic/agent/maintenance/jobspec"
	"github.com/velero-restic/velero-plugin-for-restic/agent/occupied"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// jobGrace is how long after its entry a Job may be made, again if need be. Later, one that is missing was deleted.
const jobGrace = time.Minute

// observe makes the Job of an entry that runs, looks how it is, and ends the entry with it.
func (r *Reconciler) observe(
	ctx context.Context, repository *resticv1.ResticRepository, entry *resticv1.Maintenance, settings jobspec.Settings,
) (ctrl.Result, error) {
	job := &batchv1.Job{}
	err := r.Reader.Get(ctx, client.ObjectKey{Namespace: repository.Namespace, Name: entry.Job}, job)
	age := r.Clock.Since(entry.StartTime.Time)
	switch {
	case apierrors.IsNotFound(err) && age > jobGrace:
		r.conclude(repository, entry, failure("its Job was deleted before it had ended"))
		return ctrl.Result{RequeueAfter: time.Second}, nil
	case apierrors.IsNotFound(err):
		return r.create(ctx, repository, entry, settings)
	case err != nil:
		return ctrl.Result{}, fmt.Errorf("reading Job %s: %w", entry.Job, err)
	}
	pod, err := r.podOf(ctx, job)
	if err != nil {
		return ctrl.Result{}, err
	}
	if reason, ended := jobspec.Ended(job); ended {
		r.conclude(repository, entry, r.outcome(job, pod, reason, settings))
		return ctrl.Result{RequeueAfter: time.Second}, r.deleteOldJobs(ctx, repository, settings)
	}
	if occupied.IsExclusive(entry.Operation) {
		if restore, err := r.pendingRestore(ctx, repository); err != nil || restore != "" {
			return r.interrupt(ctx, repository, entry, restore, err)
		}
	}
	if pod != nil && pod.Status.Phase != corev1.PodPending {
		entry.Reason, entry.Message = "", ""
		return ctrl.Result{RequeueAfter: maintenanceInterval}, nil
	}
	entry.Reason = resticv1.WaitingForPod
	entry.Message = "its pod is not running" + jobspec.PendingReason(pod)
	if age <= settings.StartDeadlineOrDefault() {
		return ctrl.Result{RequeueAfter: maintenanceInterval}, nil
	}
	// Backups wait for it: they must not for a pod that never runs.
	if err := r.deleteJob(ctx, repository, entry); err != nil {
		return ctrl.Result{}, err
	}
	r.conclude(repository, entry, failure(fmt.Sprintf("its pod did not run within %s (startDeadline in ConfigMap "+
		"%s/%s)%s", settings.StartDeadlineOrDefault(), repository.Namespace, r.ConfigMap, jobspec.PendingReason(pod))))
	return ctrl.Result{RequeueAfter: time.Second}, nil
}

// interrupt ends a Job for the sake of a restore, which is not to wait for hours. restic keeps what it has done, and
// gives its lock back.
func (r *Reconciler) interrupt(
	ctx context.Context, repository *resticv1.ResticRepository, entry *resticv1.Maintenance, restore string, err error,
) (ctrl.Result, error) {
	if err == nil {
		err = r.deleteJob(ctx, repository, entry)
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	r.conclude(repository, entry, transfer.MaintainOutcome{
		Result:  resticv1.MaintenanceLocked,
		Message: "stopped for PodVolumeRestore " + restore + ": it continues afterwards",
	})
	entry.Reason = resticv1.WaitingForRestore
	return ctrl.Result{RequeueAfter: maintenanceInterval}, nil
}

func (r *Reconciler) deleteJob(
	ctx context.Context, repository *resticv1.ResticRepository, entry *resticv1.Maintenance,
) error {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: repository.Namespace, Name: entry.Job}}
	err := r.Client.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting Job %s: %w", job.Name, err)
	}
	return nil
}

func failure(message string) transfer.MaintainOutcome {
	return transfer.MaintainOutcome{Result: resticv1.MaintenanceFailed, Message: message}
}

// create makes the Job. What the API server will not have, for whatever reason, fails the entry.
func (r *Reconciler) create(
	ctx context.Context, repository *resticv1.ResticRepository, entry *resticv1.Maintenance, settings jobspec.Settings,
) (ctrl.Result, error) {
	daemonSet, err := r.daemonSet(ctx, repository.Namespace)
	if err != nil {
		return ctrl.Result{}, err
	}
	job, err := jobspec.Build(daemonSet, repository, entry, settings)
	if err == nil {
		err = client.IgnoreAlreadyExists(r.Client.Create(ctx, job))
	}
	if err != nil && (apierrors.IsServerTimeout(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsInternalError(err) || apierrors.IsTimeout(err)) {
		return ctrl.Result{}, fmt.Errorf("creating Job %s: %w", entry.Job, err)
	}
	if err != nil {
		r.conclude(repository, entry, failure("its Job could not be made: "+err.Error()))
	}
	return ctrl.Result{RequeueAfter: maintenanceInterval}, nil
}

// podOf returns the pod of a Job, of which it has one at most; nil for none.
func (r *Reconciler) podOf(ctx context.Context, job *batchv1.Job) (*corev1.Pod, error) {
	pods := &corev1.PodList{}
	if err := r.Reader.List(ctx, pods, client.InNamespace(job.Namespace),
		client.MatchingLabels{batchv1.JobNameLabel: job.Name}); err != nil {
		return nil, fmt.Errorf("listing the pods of Job %s: %w", job.Name, err)
	}
	if len(pods.Items) == 0 {
		return nil, nil
	}
	return &pods.Items[0], nil
}

// outcome reads from the pod how a Job that has ended went.
func (r *Reconciler) outcome(
	job *batchv1.Job, pod *corev1.Pod, reason string, settings jobspec.Settings,
) transfer.MaintainOutcome {
	if reason == batchv1.JobReasonDeadlineExceeded && jobspec.IsList(job) {
		return failure(fmt.Sprintf("not done within %s: look whether the storage answers, and ask again",
			settings.DeadlineFor(resticv1.OperationSnapshots)))
	}
	if reason == batchv1.JobReasonDeadlineExceeded {
		return failure(fmt.Sprintf("not done within %s: restic was stopped and goes on from there the next time; "+
			"raise activeDeadline in ConfigMap %s/%s, or bound a prune by maxRepackSize", settings.DeadlineOrDefault(),
			job.Namespace, r.ConfigMap))
	}
	ended := jobspec.Terminated(pod)
	if ended == nil {
		message := "its pod is gone"
		if pod != nil && pod.Status.Message != "" {
			message = fmt.Sprintf("its pod ended: %s: %s", pod.Status.Reason, pod.Status.Message)
		}
		if reason == "" {
			return transfer.MaintainOutcome{Result: resticv1.MaintenanceSucceeded}
		}
		return failure(fmt.Sprintf("%s (Job: %s)", message, reason))
	}
	var outcome transfer.MaintainOutcome
	reported := json.Unmarshal([]byte(ended.Message), &outcome) == nil && outcome.Result != ""
	const killed = 137 // 128 + SIGKILL
	switch {
	case ended.Reason == "OOMKilled", reported && outcome.Killed, !reported && ended.ExitCode == killed:
		return failure(r.memoryMessage(pod))
	case reported:
		return outcome
	case ended.ExitCode == 0:
		return transfer.MaintainOutcome{Result: resticv1.MaintenanceSucceeded}
	}
	return failure(fmt.Sprintf("its container ended with %d (%s): %s", ended.ExitCode, ended.Reason, ended.Message))
}

// memoryMessage names the limit that was met, and the remedy.
func (r *Reconciler) memoryMessage(pod *corev1.Pod) string {
	limit := "which has no limit of its own, so the node had no more"
	for i := range pod.Spec.Containers {
		if memory, limited := pod.Spec.Containers[i].Resources.Limits[corev1.ResourceMemory]; limited {
			limit = "whose limit is " + memory.String()
		}
	}
	return fmt.Sprintf("restic ran out of memory, %s: raise podResources.memoryLimit and memoryRequest in "+
		"ConfigMap %s/%s", limit, pod.Namespace, r.ConfigMap)
}

// conclude ends an entry, and draws from it what the status says of the repository.
func (r *Reconciler) conclude(
	repository *resticv1.ResticRepository, entry *resticv1.Maintenance, outcome transfer.MaintainOutcome,
) {
	now := metav1.NewTime(r.Clock.Now().Truncate(time.Second))
	entry.Result, entry.Message, entry.CompletionTime = outcome.Result, strings.TrimSpace(outcome.Message), &now
	entry.Reason = ""
	entry.Damaged = entry.Operation == resticv1.OperationCheck && outcome.Damaged
	entry.Duration = &metav1.Duration{Duration: now.Sub(entry.StartTime.Time)}
	status := &repository.Status
	succeeded := entry.Result == resticv1.MaintenanceSucceeded
	switch {
	case entry.Operation == resticv1.OperationSnapshots && !succeeded:
		entry.Result = resticv1.MaintenanceFailed // whoever asked for a list asks again
	case entry.Result == resticv1.MaintenanceLocked:
		entry.Reason = resticv1.WaitingForLock
		condition.Set(repository, resticv1.ConditionUnlocked, metav1.ConditionFalse, resticv1.ReasonLocked,
			entry.Message)
	case entry.Operation == resticv1.OperationUnlock:
		// Whatever is left, and whatever of it is abandoned, is looked at again.
		status.LocksTime = nil
		condition.Set(repository, resticv1.ConditionUnlocked, metav1.ConditionFalse, resticv1.ReasonWaiting,
			"the locks are being looked at after an unlock")
	case entry.Operation == resticv1.OperationPrune && succeeded:
		status.LastMaintenanceTime = &now
		condition.Set(repository, resticv1.ConditionPruned, metav1.ConditionTrue, resticv1.ReasonMaintained,
			entry.Message)
	case entry.Operation == resticv1.OperationPrune:
		condition.Set(repository, resticv1.ConditionPruned, metav1.ConditionFalse, resticv1.ReasonMaintenanceFailed,
			entry.Message)
	case entry.Operation == resticv1.OperationCheck && succeeded:
		status.LastCheckTime = &now
		status.NextCheckPart = nextPart(repository, entry)
		condition.Set(repository, resticv1.ConditionIntact, metav1.ConditionTrue, resticv1.ReasonMaintained,
			entry.Message)
	case entry.Operation == resticv1.OperationCheck && outcome.Damaged:
		condition.Set(repository, resticv1.ConditionIntact, metav1.ConditionFalse, resticv1.ReasonDamaged,
			entry.Message)
	}
	if entry.Operation != resticv1.OperationSnapshots {
		r.setMaintained(repository)
	}
}

// nextPart is the part that the next check reads: after the last one the first.
func nextPart(repository *resticv1.ResticRepository, entry *resticv1.Maintenance) int32 {
	switch {
	case repository.Spec.CheckParts == 0:
		return 0
	case entry.Part >= repository.Spec.CheckParts:
		return 1
	}
	return entry.Part + 1
}

// deleteOldJobs deletes the Jobs that have ended but for the newest, which are kept for their logs. Those of lists are
// counted by themselves, so that nobody's list pushes out the log of a prune: as many are kept as the history tells of.
func (r *Reconciler) deleteOldJobs(
	ctx context.Context, repository *resticv1.ResticRepository, settings jobspec.Settings,
) error {
	jobs := &batchv1.JobList{}
	if err := r.Reader.List(ctx, jobs, client.InNamespace(repository.Namespace),
		client.MatchingLabels{contract.LabelRepositoryUID: string(repository.UID)}); err != nil {
		return fmt.Errorf("listing the Jobs of ResticRepository %s: %w", repository.Name, err)
	}
	slices.SortFunc(jobs.Items, func(a, b batchv1.Job) int {
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	kept, keptLists := ptr.Deref(settings.KeepLatestMaintenanceJobs, jobspec.DefaultKeepJobs), resticv1.MaxMaintenance
	for i := range jobs.Items {
		job, left := &jobs.Items[i], &kept
		if jobspec.IsList(job) {
			left = &keptLists
		}
		if _, over := jobspec.Ended(job); !over {
			continue
		}
		if *left--; *left >= 0 {
			continue
		}
		err := r.Client.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationBackground))
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting Job %s: %w", job.Name, err)
		}
	}
	return nil
}
