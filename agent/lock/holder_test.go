// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package lock

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

	"github.com/velero-restic/velero-plugin-for-restic/agent/agenttest"
	"github.com/velero-restic/velero-plugin-for-restic/agent/occupied"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

const deadAgent = "restic-dead1"

// readyAgent is an agent that is ready since then; never for the zero time.
func readyAgent(name string, since time.Time) *corev1.Pod {
	agent := &corev1.Pod{ObjectMeta: agenttest.Meta(agenttest.Velero, name), Spec: corev1.PodSpec{NodeName: agenttest.Node}}
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
	backup := agenttest.PodVolumeBackup("pvb-1", "data")
	backup.CreationTimestamp = metav1.NewTime(now.Add(-20 * time.Minute))
	backup.Status.Agent, backup.Status.FormerAgents = agent, former
	backup.Status.HeartbeatTimestamp = agenttest.Ago(now, time.Minute)
	return backup
}

func onNode(node string, pod *corev1.Pod) *corev1.Pod {
	pod.Spec.NodeName = node
	return pod
}

func withRepository(name string, backup *resticv1.PodVolumeBackup) *resticv1.PodVolumeBackup {
	backup.Spec.Repository = name
	return backup
}

func jobPod(job string, phase corev1.PodPhase) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: agenttest.Meta(agenttest.Velero, job+"-x7x7x"), Status: corev1.PodStatus{Phase: phase}}
	if phase != corev1.PodRunning {
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: contract.DaemonSetName, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 137}},
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
			host: deadAgent, age: silentAfter + time.Second, objects: []client.Object{workedOn(now, deadAgent)},
			gone: true, says: "is being removed",
		},
		"an agent that is gone, and another node's agent is ready": {
			host: deadAgent, says: "once that is certain",
			objects: []client.Object{onNode("node-2", readyAgent("restic-other1", long)), workedOn(now, deadAgent)},
		},
		"an agent that worked with another repository": {
			host: deadAgent, says: "another cluster's",
			objects: []client.Object{readyAgent("restic-next1", long), withRepository("other", workedOn(now, deadAgent))},
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
			host: job + "-x7x7x", age: silentAfter + time.Second, gone: true, says: "is being removed",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := agenttest.New(t, c.objects...)
			w.SetRepository(resticv1.RepositoryReady, "")
			repository := w.Repository()
			repository.Status.Maintenance = []resticv1.Maintenance{{Operation: resticv1.OperationPrune, Job: job}}
			judge := &holderFinder{client: w.Client, reader: w.Client, namespace: agenttest.Velero, now: now}
			locks, err := judge.find(t.Context(), repository, []restic.Lock{{
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

// lockReads is the leader's reconciler of locks.
type lockReads struct {
	*agenttest.World
	*agenttest.Script[transfer.LocksRequest, transfer.LocksOutcome]

	reconciler *Reconciler
}

func newLooks(t *testing.T) *lockReads {
	t.Helper()
	l := &lockReads{World: agenttest.New(t), Script: agenttest.NewScript[transfer.LocksRequest, transfer.LocksOutcome]()}
	l.SetRepository(resticv1.RepositoryReady, "")
	pool, _ := agenttest.StartPool[transfer.LocksOutcome](t, 1)
	l.reconciler = &Reconciler{
		Client: l.Client, Reader: l.Client, Recorder: l.Recorder, Metrics: l.Metrics, Clock: clock.RealClock{},
		Jobs: pool, Locks: l.Run,
	}
	return l
}

func (l *lockReads) reconcile() time.Duration {
	l.T.Helper()
	return agenttest.Reconcile(l.World, l.reconciler, contract.RepositoryName(agenttest.Shop, agenttest.Location)).RequeueAfter
}

func (l *lockReads) met(ctx context.Context) {
	l.T.Helper()
	key := client.ObjectKey{Namespace: agenttest.Velero, Name: contract.RepositoryName(agenttest.Shop, agenttest.Location)}
	if err := occupied.MarkLocked(ctx, l.Client, key, "locked by elsewhere"); err != nil {
		l.T.Fatal(err)
	}
}

func TestLocks(t *testing.T) {
	agenttest.InBubbles(t, map[string]func(*testing.T){
		"are not looked at where none is in the way": func(t *testing.T) {
			l := newLooks(t)
			l.reconcile()
			if len(l.Asked) != 0 {
				t.Error("they were")
			}
		},
		"are told until they are gone": func(t *testing.T) {
			l := newLooks(t)
			l.met(t.Context())
			l.reconcile()
			l.Answer(transfer.LocksOutcome{Locks: []restic.Lock{
				{ID: "1", Hostname: "near", Time: time.Now()}, {ID: "2", Hostname: "elsewhere", Exclusive: true, Time: time.Now()},
			}}, nil)
			again := l.reconcile()
			status := l.Repository().Status
			condition := meta.FindStatusCondition(status.Conditions, resticv1.ConditionUnlocked)
			if len(status.Locks) != 2 || condition.Status != metav1.ConditionFalse ||
				!strings.Contains(condition.Message, "elsewhere") || !strings.Contains(condition.Message, "1 more") {
				t.Errorf("the status is %+v", status)
			}
			l.reconcile()
			if len(l.Asked) != 1 {
				t.Fatal("its own write woke it")
			}
			agenttest.Sleep(again)
			l.reconcile()
			l.Answer(transfer.LocksOutcome{}, nil)
			l.reconcile()
			status = l.Repository().Status
			if len(status.Locks) != 0 || !meta.IsStatusConditionTrue(status.Conditions, resticv1.ConditionUnlocked) {
				t.Errorf("the status is %+v", status)
			}
			if told := strings.Join(l.Events(), "\n"); !strings.Contains(told, "Locked") || !strings.Contains(told, "Unlocked") {
				t.Errorf("the Events are %s", told)
			}
		},
		"that cannot be seen are not called gone": func(t *testing.T) {
			l := newLooks(t)
			l.met(t.Context())
			l.reconcile()
			l.Answer(transfer.LocksOutcome{}, errors.New("no route to host"))
			l.reconcile()
			condition := meta.FindStatusCondition(l.Repository().Status.Conditions, resticv1.ConditionUnlocked)
			if condition.Status != metav1.ConditionFalse || !strings.Contains(condition.Message, "no route to host") {
				t.Errorf("the condition is %+v", condition)
			}
		},
	})
}

func TestOwnLocks(t *testing.T) {
	agenttest.InBubbles(t, map[string]func(*testing.T){
		"are removed by the agent whose they are, now and then": func(t *testing.T) {
			w, script := agenttest.New(t), agenttest.NewScript[transfer.LocksRequest, transfer.LocksOutcome]()
			w.SetRepository(resticv1.RepositoryReady, "")
			pool, _ := agenttest.StartPool[transfer.LocksOutcome](t, 1)
			own := &OwnReconciler{
				Client: w.Client, Pod: "restic-1", Clock: clock.RealClock{}, Jobs: pool, Locks: script.Run,
			}
			name := contract.RepositoryName(agenttest.Shop, agenttest.Location)
			w.Lock(true)
			agenttest.Reconcile(w, own, name)
			if len(script.Asked) != 0 {
				t.Fatal("another host's were looked at")
			}
			repository := w.Repository()
			repository.Status.Locks[0].Host = own.Pod
			w.UpdateStatus(repository)
			agenttest.Reconcile(w, own, name)
			script.Answer(transfer.LocksOutcome{}, nil)
			agenttest.Reconcile(w, own, name)
			rest := agenttest.Reconcile(w, own, name).RequeueAfter
			if len(script.Asked) != 1 || rest <= 0 {
				t.Fatalf("%d looks, the next in %s", len(script.Asked), rest)
			}
			agenttest.Sleep(rest)
			agenttest.Reconcile(w, own, name)
			if len(script.Asked) != 2 {
				t.Errorf("%d looks", len(script.Asked))
			}
		},
	})
}
