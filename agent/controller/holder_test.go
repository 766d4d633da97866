// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package controller

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

const deadAgent = "restic-dead1"

// readyAgent is an agent that is ready since then; never for the zero time.
func readyAgent(name string, since time.Time) *corev1.Pod {
	agent := &corev1.Pod{ObjectMeta: objectMeta(velero, name), Spec: corev1.PodSpec{NodeName: thisNode}}
	agent.Labels = map[string]string{contract.AgentLabelKey: contract.AgentLabelValue}
	condition := corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse}
	if !since.IsZero() {
		condition.Status, condition.LastTransitionTime = corev1.ConditionTrue, metav1.NewTime(since)
	}
	agent.Status.Conditions = []corev1.PodCondition{condition}
	return agent
}

// workedOn is a backup that agents have worked on until a minute ago.
func workedOn(now time.Time, agent string, former ...string) *resticv1.PodVolumeBackup {
	backup := podVolumeBackup(pvb, "data")
	backup.CreationTimestamp = metav1.NewTime(now.Add(-20 * time.Minute))
	backup.Status.Agent, backup.Status.FormerAgents = agent, former
	backup.Status.HeartbeatTimestamp = ago(now, time.Minute)
	return backup
}

func jobPod(job string, phase corev1.PodPhase) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: objectMeta(velero, job+"-x7x7x"), Status: corev1.PodStatus{Phase: phase}}
	if phase != corev1.PodRunning {
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: contract.DaemonSetName, State: corev1.ContainerState{Terminated: exit(137, "")},
		}}
	}
	return pod
}

func TestLockHolder(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	long := now.Add(-time.Hour)
	const job = "restic-prune-0123456789abcdef"
	cases := map[string]struct {
		host    string
		age     time.Duration // since the last refresh
		objects []client.Object
		gone    bool
		says    string
	}{
		"an agent that lives": {
			host: deadAgent, objects: []client.Object{readyAgent(deadAgent, long), workedOn(now, deadAgent)},
			says: "the agent on node node-1",
		},
		"an agent that is gone, its node's next one ready": {
			host: deadAgent, objects: []client.Object{readyAgent("restic-next1", long), workedOn(now, deadAgent)},
			gone: true, says: "is being removed",
		},
		"an agent that is gone, and another has taken up its work": {
			host: deadAgent, gone: true, says: "is being removed",
			objects: []client.Object{readyAgent("restic-next1", long), workedOn(now, "restic-next1", deadAgent)},
		},
		"an agent whose pod was deleted just now may run on": {
			host: deadAgent, says: "once that is certain",
			objects: []client.Object{readyAgent("restic-next1", now.Add(-time.Second)), workedOn(now, deadAgent)},
		},
		"an agent whose node does not answer may run on": {
			host: deadAgent, objects: []client.Object{readyAgent("restic-next1", time.Time{}), workedOn(now, deadAgent)},
			says: "once that is certain",
		},
		"an agent that is gone and has not refreshed its lock": {
			host: deadAgent, age: silence + time.Second, objects: []client.Object{workedOn(now, deadAgent)},
			gone: true, says: "is being removed",
		},
		"a host that nobody here knows": {
			host: "restic-other", age: 29 * time.Minute, objects: []client.Object{readyAgent("restic-next1", long), workedOn(now, deadAgent)},
			says: "another cluster's",
		},
		"a host by the name of a pod that worked at another time": {
			host: deadAgent, age: 28 * time.Minute, says: "another cluster's",
			objects: []client.Object{readyAgent("restic-next1", long), workedOn(now, deadAgent)},
		},
		"a Job's pod that runs": {
			host: job + "-x7x7x", objects: []client.Object{jobPod(job, corev1.PodRunning)}, says: "the pod of Job " + job,
		},
		"a Job's pod that has ended": {
			host: job + "-x7x7x", objects: []client.Object{jobPod(job, corev1.PodFailed)}, gone: true, says: "has ended",
		},
		"a Job's pod that is gone may run on": {host: job + "-x7x7x", says: "once that is certain"},
		"a Job's pod that is gone and has not refreshed its lock": {
			host: job + "-x7x7x", age: silence + time.Second, gone: true, says: "is being removed",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.objects...)
			w.setRepository(resticv1.RepositoryReady, "")
			repository := w.shopRepository()
			repository.Status.Maintenance = []resticv1.Maintenance{{Operation: resticv1.OperationPrune, Job: job}}
			judge := &lockJudge{client: w.client, reader: w.client, namespace: velero, now: now}
			locks, err := judge.judge(t.Context(), repository, []restic.Lock{{
				ID: "0123abcd", Hostname: c.host, PID: 7, Time: now.Add(-c.age),
			}})
			if err != nil || len(locks) != 1 {
				t.Fatalf("got %+v, %v", locks, err)
			}
			if locks[0].Abandoned != c.gone || !strings.Contains(locks[0].Holder, c.says) {
				t.Errorf("got %+v, want abandoned %v, %q", locks[0], c.gone, c.says)
			}
		})
	}
}

// looks is the leader's reconciler of locks.
type looks struct {
	*world
	*script[transfer.LocksRequest, transfer.LocksOutcome]

	reconciler *LockReconciler
}

func newLooks(t *testing.T) *looks {
	t.Helper()
	l := &looks{world: newWorld(t), script: newScript[transfer.LocksRequest, transfer.LocksOutcome]()}
	l.setRepository(resticv1.RepositoryReady, "")
	pool, _ := startPool[transfer.LocksOutcome](t, 1)
	l.reconciler = &LockReconciler{
		Client: l.client, Reader: l.client, Recorder: l.recorder, Metrics: l.metrics, Clock: clock.RealClock{},
		Jobs: pool, Locks: l.run,
	}
	return l
}

func (l *looks) look() time.Duration {
	l.t.Helper()
	return look(l.world, l.reconciler, contract.RepositoryName(shop, location)).RequeueAfter
}

func (l *looks) met(ctx context.Context) {
	l.t.Helper()
	key := client.ObjectKey{Namespace: velero, Name: contract.RepositoryName(shop, location)}
	if err := markLocked(ctx, l.client, key, "locked by elsewhere"); err != nil {
		l.t.Fatal(err)
	}
}

func TestLocks(t *testing.T) {
	bubbles(t, map[string]func(*testing.T){
		"are not looked at where none is in the way": func(t *testing.T) {
			l := newLooks(t)
			l.look()
			if len(l.asked) != 0 {
				t.Error("they were")
			}
		},
		"are told until they are gone": func(t *testing.T) {
			l := newLooks(t)
			l.met(t.Context())
			l.look()
			l.answer(transfer.LocksOutcome{Locks: []restic.Lock{
				{ID: "1", Hostname: "near", Time: time.Now()}, {ID: "2", Hostname: "elsewhere", Exclusive: true, Time: time.Now()},
			}}, nil)
			again := l.look()
			status := l.shopRepository().Status
			condition := meta.FindStatusCondition(status.Conditions, resticv1.ConditionUnlocked)
			if len(status.Locks) != 2 || condition.Status != metav1.ConditionFalse ||
				!strings.Contains(condition.Message, "elsewhere") || !strings.Contains(condition.Message, "1 more") {
				t.Errorf("the status is %+v", status)
			}
			l.look()
			if len(l.asked) != 1 {
				t.Fatal("its own write woke it")
			}
			pass(again)
			l.look()
			l.answer(transfer.LocksOutcome{}, nil)
			l.look()
			status = l.shopRepository().Status
			if len(status.Locks) != 0 || !meta.IsStatusConditionTrue(status.Conditions, resticv1.ConditionUnlocked) {
				t.Errorf("the status is %+v", status)
			}
			if told := strings.Join(l.events(), "\n"); !strings.Contains(told, "Locked") || !strings.Contains(told, "Unlocked") {
				t.Errorf("the Events are %s", told)
			}
		},
		"that cannot be seen are not called gone": func(t *testing.T) {
			l := newLooks(t)
			l.met(t.Context())
			l.look()
			l.answer(transfer.LocksOutcome{}, errors.New("no route to host"))
			l.look()
			condition := meta.FindStatusCondition(l.shopRepository().Status.Conditions, resticv1.ConditionUnlocked)
			if condition.Status != metav1.ConditionFalse || !strings.Contains(condition.Message, "no route to host") {
				t.Errorf("the condition is %+v", condition)
			}
		},
	})
}

func TestOwnLocks(t *testing.T) {
	bubbles(t, map[string]func(*testing.T){
		"are removed by the agent whose they are, now and then": func(t *testing.T) {
			w, script := newWorld(t), newScript[transfer.LocksRequest, transfer.LocksOutcome]()
			w.setRepository(resticv1.RepositoryReady, "")
			pool, _ := startPool[transfer.LocksOutcome](t, 1)
			own := &OwnLockReconciler{NodeOptions: w.nodeOptions(), Jobs: pool, Locks: script.run}
			name := contract.RepositoryName(shop, location)
			w.lock(true)
			look(w, own, name)
			if len(script.asked) != 0 {
				t.Fatal("another host's were looked at")
			}
			repository := w.shopRepository()
			repository.Status.Locks[0].Host = own.Pod
			w.updateStatus(repository)
			look(w, own, name)
			script.answer(transfer.LocksOutcome{}, nil)
			look(w, own, name)
			rest := look(w, own, name).RequeueAfter
			if len(script.asked) != 1 || rest <= 0 {
				t.Fatalf("%d looks, the next in %s", len(script.asked), rest)
			}
			pass(rest)
			look(w, own, name)
			if len(script.asked) != 2 {
				t.Errorf("%d looks", len(script.asked))
			}
		},
	})
}
