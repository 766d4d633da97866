// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package lock

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/maintenance/jobspec"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

const (
	// refreshInterval is how often a holder that lives refreshes its lock
	// (restic v0.19.1, internal/repository/lock.go, refreshInterval).
	refreshInterval = 5 * time.Minute
	// silence is after which time without a refresh a holder whose pod is gone is believed to be gone with it. A pod
	// that was deleted by force may run on where the kubelet does not hear of it.
	silentAfter = refreshInterval + 2*time.Minute
	// successorAge is for how long another agent must be ready on the node of one that is gone: the kubelet there hears
	// of deletions, and has ended it.
	successorAge = 15 * time.Second
)

// holderFinder says who holds the locks of one repository.
type holderFinder struct {
	client    client.Client
	reader    client.Reader
	namespace string
	now       time.Time
}

// find returns the locks for the status.
func (f *holderFinder) find(
	ctx context.Context, repository *resticv1.ResticRepository, locks []restic.Lock,
) ([]resticv1.RepositoryLock, error) {
	var found []resticv1.RepositoryLock
	for _, lock := range locks {
		if len(found) == resticv1.MaxLocks {
			break
		}
		entry := resticv1.RepositoryLock{
			ID: lock.ID, Host: lock.Hostname, PID: int64(lock.PID), Exclusive: lock.Exclusive,
			Time: metav1.NewTime(lock.Time.Truncate(time.Second)),
		}
		var err error
		if entry.Holder, entry.Abandoned, err = f.holder(ctx, repository, lock); err != nil {
			return nil, err
		}
		found = append(found, entry)
	}
	return found, nil
}

// holder says who holds a lock, and whether it is provably gone. Only a pod of this cluster can be: of other hosts
// nothing is known here, and they have restic's own rule.
func (f *holderFinder) holder(
	ctx context.Context, repository *resticv1.ResticRepository, lock restic.Lock,
) (text string, abandoned bool, err error) {
	pod := &corev1.Pod{}
	err = f.reader.Get(ctx, client.ObjectKey{Namespace: f.namespace, Name: lock.Hostname}, pod)
	if err == nil {
		text, abandoned = f.podHolder(repository, pod)
		return text, abandoned, nil
	}
	// A host name that cannot be that of a pod is a foreign one.
	if !apierrors.IsNotFound(err) && !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
		return "", false, fmt.Errorf("reading pod %s: %w", lock.Hostname, err)
	}
	expired := f.now.Sub(lock.Time) > silentAfter
	if job := jobOfHost(repository, lock.Hostname); job != "" {
		return fmt.Sprintf("a pod of Job %s, which is gone%s", job, removalText(expired, lock)), expired, nil
	}
	node, err := f.nodeOf(ctx, repository, lock)
	if err != nil {
		return "", false, err
	}
	if node == "" {
		return fmt.Sprintf("none of this cluster's pods that is known, perhaps another cluster's or a person's "+
			"restic; unless it is refreshed, restic takes it for abandoned at %s",
			lock.Expiry().UTC().Format(time.RFC3339)), false, nil
	}
	replaced, err := f.replaced(ctx, node)
	if err != nil {
		return "", false, err
	}
	gone := expired || replaced
	return fmt.Sprintf("the agent on node %s, whose pod is gone%s", node, removalText(gone, lock)), gone, nil
}

func removalText(abandoned bool, lock restic.Lock) string {
	if abandoned {
		return ": the lock is being removed"
	}
	return "; the lock is removed once that is certain, at the latest at " +
		lock.Time.Add(silentAfter).UTC().Format(time.RFC3339)
}

// podHolder judges a holder whose pod exists. A container of it that was restarted removes the lock by itself.
func (f *holderFinder) podHolder(repository *resticv1.ResticRepository, pod *corev1.Pod) (string, bool) {
	job := jobOfHost(repository, pod.Name)
	over := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	switch {
	case job != "" && over && jobspec.Terminated(pod) != nil:
		return fmt.Sprintf("the pod of Job %s, which has ended: the lock is being removed", job), true
	case job != "":
		return "the pod of Job " + job, false
	case pod.Labels[contract.AgentLabelKey] == contract.AgentLabelValue:
		return "the agent on node " + pod.Spec.NodeName, false
	}
	return "pod " + pod.Name, false
}

// jobOfHost returns the Job of this repository whose pod has, or had, the host name; empty for none. A Job's name holds
// a digest of the repository's UID, which is of this cluster alone.
func jobOfHost(repository *resticv1.ResticRepository, host string) string {
	for i := range repository.Status.Maintenance {
		if job := repository.Status.Maintenance[i].Job; job != "" && strings.HasPrefix(host, job+"-") {
			return job
		}
	}
	return ""
}

// nodeOf returns the node of the agent that had the host name and worked with the repository at the lock's time, as the
// objects it worked for tell; empty for none. The time keeps it from a pod of another cluster by the same chance name.
func (f *holderFinder) nodeOf(
	ctx context.Context, repository *resticv1.ResticRepository, lock restic.Lock,
) (string, error) {
	backups := &resticv1.PodVolumeBackupList{}
	if err := f.client.List(ctx, backups, client.InNamespace(f.namespace)); err != nil {
		return "", fmt.Errorf("listing PodVolumeBackups: %w", err)
	}
	for i := range backups.Items {
		backup := &backups.Items[i]
		if backup.Spec.Repository == repository.Name && workedAt(backup, lock) {
			return backup.Spec.Node, nil
		}
	}
	restores := &resticv1.PodVolumeRestoreList{}
	if err := f.client.List(ctx, restores, client.InNamespace(f.namespace)); err != nil {
		return "", fmt.Errorf("listing PodVolumeRestores: %w", err)
	}
	for i := range restores.Items {
		restore := &restores.Items[i]
		if restore.Spec.Repository == repository.Name && workedAt(restore, lock) {
			return restore.Status.Node, nil
		}
	}
	return "", nil
}

// workedAt says whether the operation was that host's when the lock was taken or refreshed. Clocks may differ by a
// refresh.
func workedAt(operation resticv1.VolumeOperation, lock restic.Lock) bool {
	status := operation.VolumeStatus()
	agents := append(slices.Clone(status.FormerAgents), status.Agent)
	if lock.Hostname == "" || !slices.Contains(agents, lock.Hostname) || status.HeartbeatTimestamp == nil {
		return false
	}
	return lock.Time.After(operation.GetCreationTimestamp().Add(-refreshInterval)) &&
		lock.Time.Before(status.HeartbeatTimestamp.Add(silentAfter))
}

// replaced says whether another agent has been ready on the node for some time.
func (f *holderFinder) replaced(ctx context.Context, node string) (bool, error) {
	pods := &corev1.PodList{}
	if err := f.reader.List(ctx, pods, client.InNamespace(f.namespace),
		client.MatchingLabels{contract.AgentLabelKey: contract.AgentLabelValue}); err != nil {
		return false, fmt.Errorf("listing the agents: %w", err)
	}
	for i := range pods.Items {
		if pods.Items[i].Spec.NodeName != node {
			continue
		}
		for _, condition := range pods.Items[i].Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue &&
				f.now.Sub(condition.LastTransitionTime.Time) > successorAge {
				return true, nil
			}
		}
	}
	return false, nil
}
