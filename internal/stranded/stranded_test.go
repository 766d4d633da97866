// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package stranded_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/stranded"
)

func start() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }

// agentPod returns the agent's pod on a node.
func agentPod(node string, ready corev1.ConditionStatus) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "restic-" + node},
		Spec:       corev1.PodSpec{NodeName: node},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}, {Type: corev1.PodReady, Status: ready},
		}},
	}
}

func terminating(pod corev1.Pod) corev1.Pod {
	pod.DeletionTimestamp = &metav1.Time{Time: start()}
	return pod
}

func TestAgentVerdict(t *testing.T) {
	const absent, starting = "node node-1 has no restic agent", "the restic agent on node node-1 is not ready"
	ready, notReady := agentPod("node-1", corev1.ConditionTrue), agentPod("node-1", corev1.ConditionFalse)
	for name, test := range map[string]struct {
		pods    []corev1.Pod
		waited  time.Duration
		failed  bool
		message string // part of it; empty for the zero Verdict
	}{
		"a ready agent":                        {pods: []corev1.Pod{ready}, waited: time.Hour},
		"no pod, within the grace":             {waited: stranded.AbsentGrace - time.Second, message: absent},
		"no pod, after the grace":              {waited: stranded.AbsentGrace, failed: true, message: absent},
		"a ready agent on another node":        {pods: []corev1.Pod{agentPod("node-2", corev1.ConditionTrue)}, waited: stranded.AbsentGrace, failed: true, message: absent},
		"a pod that is not ready, in time":     {pods: []corev1.Pod{notReady}, waited: stranded.StartingGrace - time.Second, message: starting},
		"a pod that is not ready, for long":    {pods: []corev1.Pod{notReady}, waited: stranded.StartingGrace, failed: true, message: starting},
		"a ready pod that is being deleted":    {pods: []corev1.Pod{terminating(ready)}, waited: stranded.AbsentGrace, message: starting},
		"a new pod beside one that terminates": {pods: []corev1.Pod{terminating(notReady), ready}, waited: time.Hour},
		"a ready pod before one that is not":   {pods: []corev1.Pod{ready, notReady}, waited: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			now := start().Add(test.waited)
			verdict := stranded.NewAgent("node-1", test.pods, stranded.WaitingSince(start()), now).Verdict("velero", now)
			if verdict.Failed != test.failed || (verdict.Message == "") != (test.message == "") ||
				!strings.Contains(verdict.Message, test.message) {
				t.Errorf("verdict is %+v, want failed %t and %q in the message", verdict, test.failed, test.message)
			}
		})
	}
}

func TestAgentMessagesNameTheNextCommand(t *testing.T) {
	now := start()
	for want, pods := range map[string][]corev1.Pod{
		"DaemonSet velero/restic, and list the agents with: kubectl -n velero get pods -l name=restic -o wide": nil,
		"(pod restic-node-1, phase Running); to see why: kubectl -n velero describe pod restic-node-1":         {agentPod("node-1", corev1.ConditionFalse)},
	} {
		verdict := stranded.NewAgent("node-1", pods, stranded.Agent{}, now).Verdict("velero", now)
		if !strings.HasSuffix(verdict.Message, want) {
			t.Errorf("message is %q, want %q at its end", verdict.Message, want)
		}
	}
}

// TestAgentTimes follows an agent over several looks: each state counts from when it was first seen, and a ready agent
// ends the count.
func TestAgentTimes(t *testing.T) {
	ready, starting := []corev1.Pod{agentPod("node-1", corev1.ConditionTrue)}, []corev1.Pod{agentPod("node-1", corev1.ConditionFalse)}
	type look struct {
		after  time.Duration // since the previous look
		pods   []corev1.Pod
		failed bool
	}
	for name, looks := range map[string][]look{
		"a rolling update": {
			{pods: ready},
			{after: time.Hour, pods: starting},
			{after: 30 * time.Second},
			{after: 10 * time.Second, pods: starting},
			{after: stranded.StartingGrace - 41*time.Second, pods: starting},
			{after: time.Second, pods: ready},
		},
		"a pod that is replaced after a long start is not absent for long": {
			{pods: starting},
			{after: stranded.StartingGrace - time.Second},
			{after: time.Second, failed: false, pods: ready},
			{after: time.Hour},
			{after: stranded.AbsentGrace - time.Second},
			{after: time.Second, failed: true},
		},
		"a node that lost its agent": {
			{pods: ready},
			{after: time.Hour},
			{after: stranded.AbsentGrace - time.Second},
			{after: time.Second, failed: true},
		},
		"pods that crash one after the other": {
			{pods: starting},
			{after: stranded.StartingGrace / 2},
			{after: time.Second, pods: starting},
			{after: stranded.StartingGrace/2 - time.Second, pods: starting, failed: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var agent stranded.Agent
			now := start()
			for i, look := range looks {
				now = now.Add(look.after)
				agent = stranded.NewAgent("node-1", look.pods, agent, now)
				if got := agent.Verdict("velero", now); got.Failed != look.failed {
					t.Errorf("look %d: verdict is %+v, want failed %t", i, got, look.failed)
				}
			}
		})
	}
}

// restoredPod returns the pod of a restore, on a node unless that is empty.
func restoredPod(node, restoreUID string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec: corev1.PodSpec{NodeName: node, InitContainers: []corev1.Container{
			{Name: "migrate", Args: []string{"restore-uid"}},
			{Name: contract.RestoreContainer, Args: []string{"--timeout=4h30m0s", restoreUID}},
		}},
	}
}

func TestRestoredPod(t *testing.T) {
	pending := restoredPod("", "restore-uid")
	pending.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Message: "0/3 nodes are available"}}
	foreign := restoredPod("node-1", "restore-uid")
	foreign.Spec.InitContainers = foreign.Spec.InitContainers[:1]
	for name, test := range map[string]struct {
		pod *corev1.Pod
		// age is that of the PodVolumeRestore, and since how long ago the caller began to count; 0 for its creation.
		age, since time.Duration
		failed     bool
		message    string
	}{
		"no pod yet":                        {age: stranded.PodGrace - time.Second, message: "pod shop/web does not exist yet"},
		"a pod that was never created":      {age: stranded.PodGrace, failed: true, message: "pod shop/web was not created within 10m0s, or was deleted: see why in `velero restore logs`"},
		"no pod, counted from later on":     {age: time.Hour, since: stranded.PodGrace - time.Second, message: "does not exist yet"},
		"no pod, counted from before":       {age: time.Second, since: time.Hour, message: "does not exist yet"},
		"a pod without a node":              {pod: pending, age: time.Hour, message: "the pod is not scheduled: 0/3 nodes are available"},
		"a pod that no scheduler looked at": {pod: restoredPod("", "restore-uid"), age: time.Hour, message: "the pod is not scheduled"},
		"another restore's pod, in time":    {pod: restoredPod("node-1", "other"), age: stranded.AbsentGrace - time.Second, message: "does not belong to this restore"},
		"another restore's pod":             {pod: restoredPod("node-1", "other"), age: stranded.AbsentGrace, failed: true, message: "no init container restic-restore-wait"},
		"a pod without the init container":  {pod: foreign, age: stranded.AbsentGrace, failed: true, message: "pod shop/web does not belong"},
		"the pod of this restore":           {pod: restoredPod("node-1", "restore-uid"), age: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			now := start().Add(2 * time.Hour)
			restore := &resticv1.PodVolumeRestore{
				ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.Time{Time: now.Add(-test.age)}},
				Spec: resticv1.PodVolumeRestoreSpec{
					Pod: corev1.ObjectReference{Namespace: "shop", Name: "web"}, RestoreUID: "restore-uid",
				},
			}
			since := time.Time{}
			if test.since > 0 {
				since = now.Add(-test.since)
			}
			verdict := stranded.RestoredPod(restore, test.pod, since, now)
			if verdict.Failed != test.failed || (verdict.Message == "") != (test.message == "") ||
				!strings.Contains(verdict.Message, test.message) {
				t.Errorf("verdict is %+v, want failed %t and %q in the message", verdict, test.failed, test.message)
			}
		})
	}
}
