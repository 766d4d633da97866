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
	"github.com/velero-restic/velero-plugin-for-restic/agent/status"
	"github.com/velero-restic/velero-plugin-for-restic/agent/volume"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/stranded"
)

// interval is the time between two cycles of the Monitor.
const interval = 10 * time.Second

// Monitor ends operations that no agent can carry out: those that must be skipped, those on nodes without an agent, and
// restores whose pod does not exist. Package internal/stranded decides. It runs only in the leader, as a
// manager.Runnable.
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

	// agents has the states of the agents in the last cycle, by node.
	agents map[string]stranded.Agent
	// skipped wakes Start before its time.
	skipped chan struct{}
}

// SetupWithManager has the manager cache what Stranded looks at, and start it.
func (s *Monitor) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	s.skipped = make(chan struct{}, 1)
	for _, kind := range []client.Object{&resticv1.PodVolumeBackup{}, &resticv1.PodVolumeRestore{}} {
		informer, err := mgr.GetCache().GetInformer(ctx, kind)
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
	ticker := time.NewTicker(interval)
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

// cycle evaluates every operation once.
func (s *Monitor) cycle(ctx context.Context) error {
	pods := &corev1.PodList{}
	if err := s.Reader.List(ctx, pods, client.InNamespace(s.Namespace),
		client.MatchingLabels{contract.AgentLabelKey: contract.AgentLabelValue}); err != nil {
		return fmt.Errorf("listing the agents: %w", err)
	}
	agents := &agents{
		namespace: s.Namespace, pods: pods.Items, now: s.Clock.Now(), before: s.agents,
		seen: map[string]stranded.Agent{},
	}
	defer func() { s.agents = agents.seen }()
	backups := &resticv1.PodVolumeBackupList{}
	if err := s.Client.List(ctx, backups, client.InNamespace(s.Namespace)); err != nil {
		return fmt.Errorf("listing PodVolumeBackups: %w", err)
	}
	for i := range backups.Items {
		backup := &backups.Items[i]
		if err := s.finish(ctx, backup, func(context.Context) (string, error) {
			return failure(agents.verdict(backup.Spec.Node)), nil
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

// failure returns the reason of a failure, empty unless the operation must fail.
func failure(verdict stranded.Verdict) string {
	if !verdict.Failed {
		return ""
	}
	return verdict.Message
}

// operationObject is a PodVolumeBackup or a PodVolumeRestore.
type operationObject interface {
	client.Object
	resticv1.VolumeOperation
}

// finish sets the final phase of an operation that no agent will finish.
func (s *Monitor) finish(
	ctx context.Context, operation operationObject, evaluate func(context.Context) (string, error),
) error {
	current := operation.VolumeStatus()
	if current.Phase.Final() || operation.GetDeletionTimestamp() != nil {
		return nil
	}
	old, ok := operation.DeepCopyObject().(client.Object)
	if !ok {
		return nil
	}
	if skip := operation.Skipped(); skip != nil {
		volume.Finish(current, resticv1.PhaseSkipped, skip.Message, s.Clock)
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
	volume.Finish(current, phase, reason, s.Clock)
	return s.save(ctx, old, operation)
}

func (s *Monitor) save(ctx context.Context, old client.Object, operation operationObject) error {
	// After a conflict the next round decides again.
	saved, err := status.Save(ctx, s.Client, old, operation)
	if err != nil || !saved {
		return status.IgnoreConflict(err)
	}
	switch typed := operation.(type) {
	case *resticv1.PodVolumeBackup:
		s.Announcer.Announce(metric.Backup, typed, typed.Spec.Pod, typed.Spec.Volume)
	case *resticv1.PodVolumeRestore:
		s.Announcer.Announce(metric.Restore, typed, typed.Spec.Pod, typed.Spec.Volume)
	}
	return nil
}

// restoreReason returns why a restore must fail, empty unless it must.
func (s *Monitor) restoreReason(
	ctx context.Context, restore *resticv1.PodVolumeRestore, agents *agents,
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
	if apierrors.IsNotFound(err) {
		pod, err = nil, nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the restored pod %s: %w", key, err)
	}
	verdict := stranded.RestoredPod(restore, pod, time.Time{}, now)
	switch {
	case verdict.Failed:
		return verdict.Message, nil
	case pod == nil:
		return "", nil
	case pod.Spec.NodeName == "":
		return "", s.explainPending(ctx, restore, verdict.Message)
	case verdict.Message != "":
		return "", nil
	}
	return failure(agents.verdict(pod.Spec.NodeName)), nil
}

// explainPending writes into the status of a restore why its pod has no node yet. No agent handles it until then.
func (s *Monitor) explainPending(ctx context.Context, restore *resticv1.PodVolumeRestore, message string) error {
	if restore.Status.Reason == resticv1.WaitingForPod && restore.Status.Message == message {
		return nil
	}
	old := restore.DeepCopy()
	restore.Status.Phase, restore.Status.Message = resticv1.PhaseNew, message
	restore.Status.Reason = resticv1.WaitingForPod
	_, err := status.Save(ctx, s.Client, old, restore)
	return status.IgnoreConflict(err)
}
