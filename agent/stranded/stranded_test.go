// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package stranded

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/agenttest"
	"github.com/velero-restic/velero-plugin-for-restic/agent/volume"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/stranded"
)

// leader looks for stranded operations.
type leader struct {
	*agenttest.World

	stranded *Monitor
}

func newLeader(t *testing.T, objects ...client.Object) *leader {
	t.Helper()
	w := agenttest.New(t, objects...)
	return &leader{World: w, stranded: &Monitor{
		Client: w.Client, Reader: w.Client, Announcer: w.Announcer(), Namespace: agenttest.Velero, Clock: clock.RealClock{},
	}}
}

func (l *leader) cycle() {
	l.T.Helper()
	if err := l.stranded.cycle(l.T.Context()); err != nil {
		l.T.Fatal(err)
	}
}

// watch looks as often as the leader does, for a time.
func (l *leader) watch(d time.Duration) {
	l.T.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		l.cycle()
		agenttest.Sleep(interval)
	}
	l.cycle()
}

// agentPod is the agent of a node.
func agentPod(node string, ready corev1.ConditionStatus) *corev1.Pod {
	object := &corev1.Pod{ObjectMeta: agenttest.Meta(agenttest.Velero, "restic-"+node), Spec: corev1.PodSpec{NodeName: node}}
	object.Labels = map[string]string{contract.AgentLabelKey: contract.AgentLabelValue}
	object.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}, {Type: corev1.PodReady, Status: ready},
	}
	return object
}

func wantStatus(t *testing.T, got resticv1.VolumeStatus, phase resticv1.VolumePhase, messages ...string) {
	t.Helper()
	if got.Phase != phase || got.Phase.Final() != (got.CompletionTimestamp != nil) {
		t.Fatalf("the phase is %q (%s), completed at %v, want %q", got.Phase, got.Message, got.CompletionTimestamp, phase)
	}
	for _, part := range messages {
		if !strings.Contains(got.Message, part) {
			t.Errorf("the message is %q, want %q in it", got.Message, part)
		}
	}
}

func TestStrandedBackup(t *testing.T) {
	agenttest.InBubbles(t, map[string]func(*testing.T){
		"one that is to be skipped gets its phase and an Event, once": func(t *testing.T) {
			backup := agenttest.PodVolumeBackup(agenttest.BackupName, "data")
			backup.Spec.Skip = &resticv1.SkipReason{Reason: "HostPath", Message: "a directory of the node: use a claim"}
			l := newLeader(t, backup)
			l.cycle()
			l.cycle()
			wantStatus(t, l.Backup(agenttest.BackupName).Status.VolumeStatus, resticv1.PhaseSkipped, "a directory of the node: use a claim")
			agenttest.WantEvents(t, l.Events(),
				"Warning Skipped restic backup of volume data: Skipped: a directory of the node: use a claim")
			if l.Writes[agenttest.BackupName] != 1 {
				t.Errorf("%d writes", l.Writes[agenttest.BackupName])
			}
		},
		"a node without an agent: given up after a while, with the node and what to look at": func(t *testing.T) {
			l := newLeader(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"), agentPod("node-2", corev1.ConditionTrue))
			l.cycle()
			wantStatus(t, l.Backup(agenttest.BackupName).Status.VolumeStatus, "")
			l.watch(stranded.AbsentGrace)
			wantStatus(t, l.Backup(agenttest.BackupName).Status.VolumeStatus, resticv1.PhaseFailed, "node-1",
				"kubectl -n velero get pods", "toleration")
		},
		"a node whose agent has died in the middle of a transfer": func(t *testing.T) {
			backup := agenttest.PodVolumeBackup(agenttest.BackupName, "data")
			backup.Status.Phase = resticv1.PhaseInProgress
			l := newLeader(t, backup, agentPod(agenttest.Node, corev1.ConditionTrue))
			l.watch(time.Hour)
			wantStatus(t, l.Backup(agenttest.BackupName).Status.VolumeStatus, resticv1.PhaseInProgress)
			l.UpdateStatus(agentPod(agenttest.Node, corev1.ConditionFalse))
			l.watch(stranded.StartingGrace)
			wantStatus(t, l.Backup(agenttest.BackupName).Status.VolumeStatus, resticv1.PhaseFailed, "node-1",
				"kubectl -n velero describe pod restic-node-1")
		},
		"a node that loses the pod of its agent": func(t *testing.T) {
			agent := agentPod(agenttest.Node, corev1.ConditionTrue)
			l := newLeader(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"), agent)
			l.watch(time.Hour)
			l.Remove(agent)
			l.watch(stranded.AbsentGrace - interval)
			wantStatus(t, l.Backup(agenttest.BackupName).Status.VolumeStatus, "")
			l.watch(2 * interval)
			wantStatus(t, l.Backup(agenttest.BackupName).Status.VolumeStatus, resticv1.PhaseFailed, "node-1")
		},
		"an agent that is replaced in time costs nothing, however old the operation is": func(t *testing.T) {
			l := newLeader(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"), agentPod(agenttest.Node, corev1.ConditionTrue))
			l.watch(time.Hour)
			for range 3 {
				l.UpdateStatus(agentPod(agenttest.Node, corev1.ConditionFalse))
				l.watch(stranded.StartingGrace - 2*interval)
				l.UpdateStatus(agentPod(agenttest.Node, corev1.ConditionTrue))
				l.cycle()
			}
			wantStatus(t, l.Backup(agenttest.BackupName).Status.VolumeStatus, "")
		},
		"canceled on a node without an agent": func(t *testing.T) {
			backup := agenttest.PodVolumeBackup(agenttest.BackupName, "data")
			backup.Spec.Cancel = true
			l := newLeader(t, backup)
			l.watch(stranded.AbsentGrace)
			wantStatus(t, l.Backup(agenttest.BackupName).Status.VolumeStatus, resticv1.PhaseCanceled)
		},
		"a final phase stays": func(t *testing.T) {
			backup := agenttest.PodVolumeBackup(agenttest.BackupName, "data")
			backup.Status.Phase = resticv1.PhaseCompleted
			backup.Spec.Skip = &resticv1.SkipReason{Reason: "HostPath", Message: "no"}
			l := newLeader(t, backup)
			l.watch(time.Hour)
			if l.Writes[agenttest.BackupName] != 0 {
				t.Error("its status was written")
			}
		},
		"an agent that was quicker wins": func(t *testing.T) {
			backup := agenttest.PodVolumeBackup(agenttest.BackupName, "data")
			backup.Spec.Skip = &resticv1.SkipReason{Reason: "HostPath", Message: "no"}
			l := newLeader(t, backup)
			kind := schema.GroupResource{Resource: "podvolumebackups"}
			l.Refuse = func(client.Object) error {
				return apierrors.NewConflict(kind, agenttest.BackupName, errors.New("changed"))
			}
			l.cycle()
			if events := l.Events(); len(events) != 0 {
				t.Errorf("told of %v", events)
			}
		},
	})
}

func TestStrandedRestore(t *testing.T) {
	unscheduled := agenttest.RestoredPod("web", corev1.ContainerState{})
	unscheduled.Spec.NodeName = ""
	canceled := agenttest.PodVolumeRestore(agenttest.RestoreName, "web")
	canceled.Spec.Cancel = true
	skipped := agenttest.PodVolumeRestore(agenttest.RestoreName, "web")
	skipped.Spec.Skip = &resticv1.SkipReason{Reason: "Block", Message: "a block device"}
	taken := agenttest.PodVolumeRestore(agenttest.RestoreName, "web")
	taken.Spec.Cancel, taken.Status.Node, taken.Status.Phase = true, agenttest.Node, resticv1.PhaseInProgress
	agent := func() client.Object { return agentPod(agenttest.Node, corev1.ConditionTrue) }
	cases := map[string]struct {
		objects []client.Object
		// patience is how long nothing is to happen; until is when the phase is to be there.
		patience, until time.Duration
		phase           resticv1.VolumePhase
		messages        []string
	}{
		"one that is to be skipped": {
			[]client.Object{skipped}, 0, 0, resticv1.PhaseSkipped, []string{"a block device"},
		},
		"its pod is never created": {
			[]client.Object{agenttest.PodVolumeRestore(agenttest.RestoreName, "web")},
			stranded.PodGrace - time.Minute, stranded.PodGrace + time.Minute,
			resticv1.PhaseFailed,
			[]string{"pod shop/web was not created within 10m0s"},
		},
		"its pod is somebody else's": {
			[]client.Object{agenttest.PodVolumeRestore(agenttest.RestoreName, "web"), agenttest.Pod("web"), agent()},
			stranded.AbsentGrace - time.Minute, stranded.AbsentGrace + time.Minute, resticv1.PhaseFailed,
			[]string{"does not belong to this restore", contract.RestoreContainer},
		},
		"its pod's node has no agent": {
			[]client.Object{agenttest.PodVolumeRestore(agenttest.RestoreName, "web"), agenttest.RestoredPod("web", agenttest.Running())},
			stranded.AbsentGrace - time.Minute,
			2*stranded.AbsentGrace + time.Minute, resticv1.PhaseFailed,
			[]string{"node node-1 has no restic agent"},
		},
		"its pod waits for a node, for as long as it may": {
			[]client.Object{agenttest.PodVolumeRestore(agenttest.RestoreName, "web"), unscheduled},
			4*time.Hour - time.Minute, 4*time.Hour + time.Minute,
			resticv1.PhaseFailed,
			[]string{"deadline"},
		},
		"canceled before its pod was there": {
			[]client.Object{canceled}, 0, 0, resticv1.PhaseCanceled, []string{volume.CanceledOnRequest},
		},
		"canceled on a node with an agent, which does it": {
			[]client.Object{taken, agenttest.RestoredPod("web", agenttest.Running()), agent()}, time.Hour, time.Hour, resticv1.PhaseInProgress, nil,
		},
		"a pod on a node with an agent": {
			[]client.Object{agenttest.PodVolumeRestore(agenttest.RestoreName, "web"), agenttest.RestoredPod("web", agenttest.Waiting("Pulling")), agent()},
			time.Hour, time.Hour, "", nil,
		},
		"what keeps its pod from being scheduled is reported": {
			[]client.Object{agenttest.PodVolumeRestore(agenttest.RestoreName, "web"), unscheduled},
			0, time.Minute,
			resticv1.PhaseNew,
			[]string{"the pod is not scheduled"},
		},
	}
	tests := map[string]func(*testing.T){}
	for name, c := range cases {
		tests[name] = func(t *testing.T) {
			for _, object := range c.objects {
				object.SetCreationTimestamp(agenttest.Meta("", "").CreationTimestamp)
				object.SetResourceVersion("")
			}
			l := newLeader(t, c.objects...)
			if c.patience > 0 {
				l.watch(c.patience)
				if phase := l.Restore(agenttest.RestoreName).Status.Phase; phase.Final() {
					t.Fatalf("it is %s before its time", phase)
				}
			}
			l.watch(c.until - c.patience)
			status := l.Restore(agenttest.RestoreName).Status.VolumeStatus
			wantStatus(t, status, c.phase, c.messages...)
			want := resticv1.WaitingReason("")
			if c.phase == resticv1.PhaseNew {
				want = resticv1.WaitingForPod
			}
			if status.Reason != want {
				t.Errorf("the reason is %q, want %q", status.Reason, want)
			}
		}
	}
	agenttest.InBubbles(t, tests)
}

func TestStrandedStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLeader(t)
		started := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { started <- l.stranded.Start(ctx) }()
		synctest.Wait()
		backup := agenttest.PodVolumeBackup(agenttest.BackupName, "data")
		backup.Spec.Skip = &resticv1.SkipReason{Reason: "HostPath", Message: "no"}
		l.Create(backup)
		agenttest.Sleep(interval)
		wantStatus(t, l.Backup(agenttest.BackupName).Status.VolumeStatus, resticv1.PhaseSkipped)
		cancel()
		if err := <-started; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
}
