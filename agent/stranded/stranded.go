// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package stranded ends the operations on volumes that no agent works on.
package stranded

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/event"
	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	"github.com/velero-restic/velero-plugin-for-restic/agent/volume"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

const (
	// agentGrace is how long a node may be without an agent before its operations are given up. A DaemonSet's rolling
	// update replaces a pod in much less.
	agentGrace = 2 * time.Minute
	// podGrace is how long a restored pod may take to be created. Velero restores pods early, in a few seconds each.
	podGrace = 10 * time.Minute
	// strandedInterval is how often the leader looks.
	strandedInterval = 10 * time.Second
)

// Monitor ends operations that nobody works on: those that cannot be done at all, those whose node has no agent, and
// restores whose pod never comes. It runs in the leader alone, as a manager.Runnable.
type Monitor struct {
	// Client reads from the cache, and writes.
	Client client.Client
	// Reader reads pods from the API server: the leader has no cache of the cluster's.
	Reader client.Reader
	// Announcer tells of phases.
	Announcer *event.Announcer
	// Namespace is Velero's.
	Namespace string
	// Clock tells the time.
	Clock clock.PassiveClock

	// missing says since when a node has been seen without an agent that is ready.
	missing map[string]time.Time
	// skipped wakes Start before its time.
	skipped chan struct{}
}

// SetupWithManager has the manager cache what Stranded looks at, and start it.
func (s *Monitor) SetupWithManager(mgr ctrl.Manager) error {
	s.skipped = make(chan struct{}, 1)
	for _, kind := range []client.Object{&resticv1.PodVolumeBackup{}, &resticv1.PodVolumeRestore{}} {
		informer, err := mgr.GetCache().GetInformer(context.TODO(), kind) //nolint:forbidigo // not used
		if err != nil {
			return fmt.Errorf("caching what may be stranded: %w", err)
		}
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: s.added}); err != nil {
			return fmt.Errorf("watching what may be stranded: %w", err)
		}
	}
	return mgr.Add(s)
}

// added wakes Start for an operation that is to be skipped: its phase is to be there before Velero collects it.
func (s *Monitor) added(object any) {
	operation, ok := object.(resticv1.VolumeOperation)
	if !ok || operation.Skipped() == nil || operation.VolumeStatus().Phase.Final() {
		return
	}
	select {
	case s.skipped <- struct{}{}:
	default:
	}
}

// Start looks at all operations again and again until the context ends. It never fails: what goes wrong is logged and
// tried again.
func (s *Monitor) Start(ctx context.Context) error {
	ticker := time.NewTicker(strandedInterval)
	defer ticker.Stop()
	for {
		if err := s.cycle(ctx); err != nil && ctx.Err() == nil {
			ctrl.LoggerFrom(ctx).Error(err, "Looking for stranded operations")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-s.skipped:
		}
	}
}

// cycle looks at every operation once.
func (s *Monitor) cycle(ctx context.Context) error {
	ready, err := s.readyNodes(ctx)
	if err != nil {
		return err
	}
	agents := agentReadiness{
		ready: ready, missingBefore: s.missing, missingNow: map[string]time.Time{}, now: s.Clock.Now(),
	}
	defer func() { s.missing = agents.missingNow }()
	backups := &resticv1.PodVolumeBackupList{}
	if err := s.Client.List(ctx, backups, client.InNamespace(s.Namespace)); err != nil {
		return fmt.Errorf("listing PodVolumeBackups: %w", err)
	}
	for i := range backups.Items {
		backup := &backups.Items[i]
		if err := s.finish(ctx, backup, func(context.Context) (string, error) {
			return agents.missingReason(backup.Spec.Node), nil
		}); err != nil {
			return err
		}
	}
	restores := &resticv1.PodVolumeRestoreList{}
	if err := s.Client.List(ctx, restores, client.InNamespace(s.Namespace)); err != nil {
		return fmt.Errorf("listing PodVolumeRestores: %w", err)
	}
	for i := range restores.Items {
		restore := &restores.Items[i]
		if err := s.finish(ctx, restore, func(ctx context.Context) (string, error) {
			return s.restoreReason(ctx, restore, agents)
		}); err != nil {
			return err
		}
	}
	return nil
}

// readyNodes returns the names of the nodes whose agent is ready.
func (s *Monitor) readyNodes(ctx context.Context) (map[string]bool, error) {
	pods := &corev1.PodList{}
	if err := s.Reader.List(ctx, pods, client.InNamespace(s.Namespace),
		client.MatchingLabels{contract.AgentLabelKey: contract.AgentLabelValue}); err != nil {
		return nil, fmt.Errorf("listing the agents: %w", err)
	}
	nodes := map[string]bool{}
	for i := range pods.Items {
		for _, condition := range pods.Items[i].Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
				nodes[pods.Items[i].Spec.NodeName] = true
			}
		}
	}
	return nodes, nil
}

// operationObject is a PodVolumeBackup or a PodVolumeRestore.
type operationObject interface {
	client.Object
	resticv1.VolumeOperation
}

// finish gives an operation its final phase if nobody else will.
func (s *Monitor) finish(
	ctx context.Context, operation operationObject, evaluate func(context.Context) (string, error),
) error {
	status := operation.VolumeStatus()
	if status.Phase.Final() || operation.GetDeletionTimestamp() != nil {
		return nil
	}
	old, ok := operation.DeepCopyObject().(client.Object)
	if !ok {
		return nil
	}
	if skip := operation.Skipped(); skip != nil {
		volume.Finish(status, resticv1.PhaseSkipped, skip.Message, s.Clock)
		return s.save(ctx, old, operation)
	}
	reason, err := evaluate(ctx)
	if err != nil || reason == "" {
		return err
	}
	phase := resticv1.PhaseFailed
	if operation.CancelRequested() {
		phase = resticv1.PhaseCanceled
	}
	volume.Finish(status, phase, reason, s.Clock)
	return s.save(ctx, old, operation)
}

func (s *Monitor) save(ctx context.Context, old client.Object, operation operationObject) error {
	patch := client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{})
	err := s.Client.Status().Patch(ctx, operation, patch)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("saving the status of %s: %w", operation.GetName(), err)
	}
	switch typed := operation.(type) {
	case *resticv1.PodVolumeBackup:
		s.Announcer.Announce(metric.Backup, typed, typed.Spec.Pod, typed.Spec.Volume)
	case *resticv1.PodVolumeRestore:
		s.Announcer.Announce(metric.Restore, typed, typed.Spec.Pod, typed.Spec.Volume)
	}
	return nil
}

func (s *Monitor) restoreReason(
	ctx context.Context, restore *resticv1.PodVolumeRestore, agents agentReadiness,
) (string, error) {
	now := s.Clock.Now()
	if restore.CancelRequested() && restore.Status.Node == "" {
		return volume.CanceledOnRequest, nil
	}
	if deadline := restore.Deadline(); restore.Status.Node == "" && !deadline.IsZero() && now.After(deadline.Time) {
		return "its pod was not ready to take the data before the deadline", nil
	}
	key := client.ObjectKey{Namespace: restore.Spec.Pod.Namespace, Name: restore.Spec.Pod.Name}
	pod := &corev1.Pod{}
	err := s.Reader.Get(ctx, key, pod)
	switch {
	case apierrors.IsNotFound(err):
		if now.Sub(restore.CreationTimestamp.Time) < podGrace {
			return "", nil
		}
		return fmt.Sprintf("pod %s was not created within %s, or was deleted: look at `velero restore logs` for "+
			"the pod", key, podGrace), nil
	case err != nil:
		return "", fmt.Errorf("reading the restored pod %s: %w", key, err)
	case pod.Spec.NodeName == "":
		return "", s.explainPending(ctx, restore, pod)
	}
	if !volume.WaitsForRestore(pod, restore.Spec.RestoreUID) {
		if now.Sub(restore.CreationTimestamp.Time) < agentGrace {
			return "", nil
		}
		return fmt.Sprintf("pod %s is not the one of this restore: it has no init container %s for it", key,
			contract.RestoreContainer), nil
	}
	return agents.missingReason(pod.Spec.NodeName), nil
}

// explainPending says in the status of a restore why its pod is on no node yet: no agent looks at it until it is.
func (s *Monitor) explainPending(ctx context.Context, restore *resticv1.PodVolumeRestore, pod *corev1.Pod) error {
	message := "waiting for the pod to be scheduled"
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Message != "" {
			message += ": " + condition.Message
		}
	}
	if restore.Status.Message == message {
		return nil
	}
	old := restore.DeepCopy()
	restore.Status.Phase, restore.Status.Message = resticv1.PhaseNew, message
	patch := client.MergeFromWithOptions(old, client.MergeFromWithOptimisticLock{})
	err := s.Client.Status().Patch(ctx, restore, patch)
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("saving the status of %s: %w", restore.Name, err)
	}
	return nil
}
