// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package maintenance

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/agenttest"
	"github.com/velero-restic/velero-plugin-for-restic/agent/maintenance/jobspec"
	"github.com/velero-restic/velero-plugin-for-restic/agent/occupied"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// maintained is the leader's reconciler in a world with a repository, its location, and the agents' DaemonSet.
type maintained struct {
	*agenttest.World

	reconciler *Reconciler
	name       string
}

func agents() *appsv1.DaemonSet {
	daemonSet := &appsv1.DaemonSet{ObjectMeta: agenttest.Meta(agenttest.Velero, contract.DaemonSetName)}
	daemonSet.Spec.Template.Spec.Containers = []corev1.Container{{Name: contract.DaemonSetName, Image: "example.com/agent"}}
	return daemonSet
}

func newMaintained(t *testing.T, objects ...client.Object) *maintained {
	t.Helper()
	all := append([]client.Object{&velerov1.BackupStorageLocation{ObjectMeta: agenttest.Meta(agenttest.Velero, agenttest.Location)}}, objects...)
	m := &maintained{World: agenttest.New(t, all...), name: contract.RepositoryName(agenttest.Shop, agenttest.Location)}
	m.SetRepository(resticv1.RepositoryReady, "")
	m.change(func(r *resticv1.ResticRepository) {
		r.UID = "uid-of-repository"
		r.CreationTimestamp = metav1.Now()
		r.Spec.MaintenanceFrequency.Duration, r.Spec.CheckFrequency.Duration = 7*day, 7*day
		r.Spec.CheckParts = 2
	})
	m.reconciler = &Reconciler{
		Client: m.Client, Reader: m.Client, Recorder: m.Recorder, Metrics: m.Metrics,
		ConfigMap: contract.MaintenanceConfigMap, Clock: clock.RealClock{},
	}
	return m
}

// change changes the repository's object but for its status.
func (m *maintained) change(change func(r *resticv1.ResticRepository)) {
	m.T.Helper()
	repository := m.Repository()
	change(repository)
	m.Update(repository)
}

func (m *maintained) changeStatus(change func(s *resticv1.ResticRepositoryStatus)) {
	m.T.Helper()
	repository := m.Repository()
	change(&repository.Status)
	m.UpdateStatus(repository)
}

func (m *maintained) request(requests resticv1.RepositoryRequests) {
	m.T.Helper()
	m.change(func(r *resticv1.ResticRepository) { r.Spec.Requests = requests })
}

// look reconciles twice: the entry, and its Job.
func (m *maintained) look() {
	m.T.Helper()
	agenttest.Reconcile(m.World, m.reconciler, m.name)
	agenttest.Reconcile(m.World, m.reconciler, m.name)
}

// jobs returns the Jobs, the oldest first.
func (m *maintained) jobs() []batchv1.Job {
	m.T.Helper()
	list := &batchv1.JobList{}
	if err := m.Client.List(m.T.Context(), list); err != nil {
		m.T.Fatal(err)
	}
	return list.Items
}

// running returns the one entry that runs, and its Job.
func (m *maintained) running(operation resticv1.MaintenanceOperation) (*resticv1.Maintenance, *batchv1.Job) {
	m.T.Helper()
	m.look()
	running := occupied.RunningJob(m.Repository())
	if operation == resticv1.OperationSnapshots {
		running = runningList(m.Repository())
	}
	if running == nil || running.Operation != operation {
		m.T.Fatalf("running is %+v, want %s; the status is %+v", running, operation, m.Repository().Status)
	}
	return running, agenttest.Get(m.World, running.Job, &batchv1.Job{})
}

// end ends a Job as Kubernetes does, with the pod's end.
func (m *maintained) end(job *batchv1.Job, reason string, ended *corev1.ContainerStateTerminated) {
	m.T.Helper()
	pod := &corev1.Pod{ObjectMeta: agenttest.Meta(agenttest.Velero, job.Name+"-x7x7x"), Spec: job.Spec.Template.Spec}
	pod.Labels = map[string]string{batchv1.JobNameLabel: job.Name}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: contract.DaemonSetName, State: corev1.ContainerState{Terminated: ended},
	}}
	if ended != nil {
		m.Create(pod)
	}
	condition := batchv1.JobCondition{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}
	if reason != "" {
		condition = batchv1.JobCondition{Type: batchv1.JobFailed, Status: corev1.ConditionTrue, Reason: reason}
	}
	job.Status.Conditions = []batchv1.JobCondition{condition}
	m.UpdateStatus(job)
	agenttest.Reconcile(m.World, m.reconciler, m.name)
}

func exit(code int32, message string) *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{ExitCode: code, Message: message}
}

func (m *maintained) wantCondition(kind string, status metav1.ConditionStatus, says string) {
	m.T.Helper()
	condition := meta.FindStatusCondition(m.Repository().Status.Conditions, kind)
	if condition == nil || condition.Status != status || !strings.Contains(condition.Message, says) {
		m.T.Errorf("condition %s is %+v, want %s with %q", kind, condition, status, says)
	}
}

func (m *maintained) wantEvents(parts ...string) {
	m.T.Helper()
	all := strings.Join(m.Events(), "\n")
	for _, part := range parts {
		if !strings.Contains(all, part) {
			m.T.Errorf("no Event says %q:\n%s", part, all)
		}
	}
}

// wantPending compares the operation that waits, and returns since when it is due.
func (m *maintained) wantPending(
	operation resticv1.MaintenanceOperation, request string, reason resticv1.WaitingReason, says string,
) time.Time {
	m.T.Helper()
	pending := m.Repository().Status.Pending
	if pending == nil || pending.Operation != operation || pending.Request != request || pending.Reason != reason ||
		!strings.Contains(pending.Message, says) {
		m.T.Fatalf("pending is %+v, want %s %q, %s with %q", pending, operation, request, reason, says)
	}
	return pending.Since.Time
}

func (m *maintained) wantIdle(says string) {
	m.T.Helper()
	m.look()
	if running := occupied.RunningJob(m.Repository()); running != nil || len(m.jobs()) > 0 {
		m.T.Fatalf("running is %+v, Jobs are %d", running, len(m.jobs()))
	}
	m.wantCondition(resticv1.ConditionMaintained, metav1.ConditionFalse, says)
}

func TestMaintenance(t *testing.T) {
	agenttest.InBubbles(t, map[string]func(*testing.T){
		"a prune by request runs as one Job, and says what it has freed": func(t *testing.T) {
			m := newMaintained(t, agents())
			m.request(resticv1.RepositoryRequests{Prune: "now"})
			begun, job := m.running(resticv1.OperationPrune)
			m.look()
			if len(m.jobs()) != 1 || begun.Request != "now" {
				t.Fatalf("%d Jobs, the entry is %+v", len(m.jobs()), begun)
			}
			m.end(job, "", exit(0, `{"result":"Succeeded","message":"freed 2.0 GiB"}`))
			status := m.Repository().Status
			if got := status.Maintenance[0]; got.Result != resticv1.MaintenanceSucceeded || got.CompletionTime == nil ||
				status.LastMaintenanceTime == nil || status.Served.Prune != "now" {
				t.Errorf("the status is %+v", status)
			}
			m.wantCondition(resticv1.ConditionPruned, metav1.ConditionTrue, "freed 2.0 GiB")
			m.wantEvents("MaintenanceStarted", "Maintained", "freed 2.0 GiB")
			m.look()
			if len(m.jobs()) != 1 {
				t.Errorf("there are %d Jobs", len(m.jobs()))
			}
			m.wantCondition(resticv1.ConditionMaintained, metav1.ConditionTrue, "")
		},
		"checks by frequency read one part after the other": func(t *testing.T) {
			m := newMaintained(t, agents())
			m.change(func(r *resticv1.ResticRepository) {
				r.Spec.MaintenanceFrequency.Duration, r.Spec.CheckFrequency.Duration = 0, time.Hour
			})
			for _, part := range []int32{1, 2, 1} {
				agenttest.Sleep(2 * time.Hour)
				begun, job := m.running(resticv1.OperationCheck)
				want := fmt.Sprintf("--part=%d/2", part)
				if args := strings.Join(job.Spec.Template.Spec.Containers[0].Args, " "); begun.Part != part ||
					!strings.Contains(args, want) {
					t.Errorf("part %d by %q, want %s", begun.Part, args, want)
				}
				m.end(job, "", exit(0, `{"result":"Succeeded"}`))
			}
			m.wantCondition(resticv1.ConditionIntact, metav1.ConditionTrue, "")
		},
		"damage is told by the condition, an Event and the metric, and the part is read again": func(t *testing.T) {
			m := newMaintained(t, agents())
			m.request(resticv1.RepositoryRequests{Check: "now"})
			_, job := m.running(resticv1.OperationCheck)
			m.end(job, "BackoffLimitExceeded", exit(1, `{"result":"Failed","damaged":true,"message":"3 errors"}`))
			m.wantCondition(resticv1.ConditionIntact, metav1.ConditionFalse, "3 errors")
			m.wantCondition(resticv1.ConditionMaintained, metav1.ConditionFalse, "3 errors")
			m.wantEvents("Warning Damaged", "3 errors")
			if status := m.Repository().Status; status.NextCheckPart != 0 || status.LastCheckTime != nil {
				t.Errorf("the status is %+v", status)
			}
			families, err := m.Registry.Gather()
			if err != nil || !strings.Contains(fmt.Sprint(families), "repository_intact") {
				t.Errorf("%v: %v", families, err)
			}
		},
		"a check that could not be done says nothing of damage": func(t *testing.T) {
			m := newMaintained(t, agents())
			m.request(resticv1.RepositoryRequests{Check: "now"})
			_, job := m.running(resticv1.OperationCheck)
			m.end(job, "BackoffLimitExceeded", exit(1, `{"result":"Failed","message":"no route to host"}`))
			if meta.FindStatusCondition(m.Repository().Status.Conditions, resticv1.ConditionIntact) != nil {
				t.Error("it is called damaged, or intact")
			}
			m.wantEvents("MaintenanceFailed", "no route to host")
		},
		"a Job that met a lock is tried again for the same word": func(t *testing.T) {
			m := newMaintained(t, agents())
			m.request(resticv1.RepositoryRequests{Prune: "now"})
			_, job := m.running(resticv1.OperationPrune)
			m.end(job, "BackoffLimitExceeded", exit(1, `{"result":"Locked","message":"locked by elsewhere"}`))
			m.wantCondition(resticv1.ConditionUnlocked, metav1.ConditionFalse, "locked by elsewhere")
			if reason := m.Repository().Status.Maintenance[0].Reason; reason != resticv1.WaitingForLock {
				t.Errorf("the reason is %q", reason)
			}
			agenttest.Sleep(time.Minute)
			m.look()
			m.wantCondition(resticv1.ConditionMaintained, metav1.ConditionFalse, "locked by elsewhere")
			m.changeStatus(func(s *resticv1.ResticRepositoryStatus) { s.Conditions = nil })
			again, _ := m.running(resticv1.OperationPrune)
			if again.Request != "now" || again.Job == job.Name {
				t.Errorf("the entry is %+v", again)
			}
		},
		"abandoned locks are removed by a Job with the name of the dead": func(t *testing.T) {
			m := newMaintained(t, agents())
			m.changeStatus(func(s *resticv1.ResticRepositoryStatus) {
				s.Locks = []resticv1.RepositoryLock{{ID: "0123abcd", Host: "restic-dead", Abandoned: true, Time: metav1.Now()}}
			})
			_, job := m.running(resticv1.OperationUnlock)
			spec := job.Spec.Template.Spec
			if args := strings.Join(spec.Containers[0].Args, " "); spec.Hostname != "restic-dead" ||
				!strings.Contains(args, "--host=restic-dead") {
				t.Errorf("host %q, arguments %s", spec.Hostname, args)
			}
			m.end(job, "", exit(0, `{"result":"Succeeded"}`))
			m.wantCondition(resticv1.ConditionUnlocked, metav1.ConditionFalse, "being looked at")
		},
		"snapshots are listed beside a backup, and nobody waits for the list": func(t *testing.T) {
			busy := agenttest.PodVolumeBackup(agenttest.BackupName, "data")
			busy.Status.Phase = resticv1.PhaseInProgress
			m := newMaintained(t, agents(), busy)
			m.request(resticv1.RepositoryRequests{Snapshots: "now"})
			entry, job := m.running(resticv1.OperationSnapshots)
			if entry.Request != "now" || occupied.ByJob(m.Repository()) != "" {
				t.Errorf("the entry is %+v, and keeps out: %q", entry, occupied.ByJob(m.Repository()))
			}
			m.end(job, "", exit(0, `{"result":"Succeeded","message":"listed 3 of 3 snapshots"}`))
			m.wantEvents("listed 3 of 3 snapshots")
		},
		"no more Jobs of a repository are kept than configured": func(t *testing.T) {
			m := newMaintained(t, agents(), agenttest.SettingsMap(`{"keepLatestMaintenanceJobs": 2}`))
			for i := range 4 {
				agenttest.Sleep(time.Minute)
				m.request(resticv1.RepositoryRequests{Prune: fmt.Sprint(i)})
				_, job := m.running(resticv1.OperationPrune)
				m.end(job, "", exit(0, `{"result":"Succeeded"}`))
			}
			if count := len(m.jobs()); count != 2 {
				t.Errorf("%d Jobs are kept", count)
			}
		},
	})
}

// restoring is a restore from the shop's repository.
func restoring() *resticv1.PodVolumeRestore {
	restore := &resticv1.PodVolumeRestore{ObjectMeta: agenttest.Meta(agenttest.Velero, "pvr-1")}
	restore.Spec.Repository = contract.RepositoryName(agenttest.Shop, agenttest.Location)
	return restore
}

func TestMaintenanceWaits(t *testing.T) {
	busy := agenttest.PodVolumeBackup(agenttest.BackupName, "data")
	busy.Status.Phase = resticv1.PhaseInProgress
	other := &resticv1.ResticRepository{ObjectMeta: agenttest.Meta(agenttest.Velero, "other")}
	other.Status.Maintenance = []resticv1.Maintenance{{
		Operation: resticv1.OperationCheck, Result: resticv1.MaintenanceRunning, StartTime: metav1.Now(),
	}}
	cases := map[string]struct {
		objects []client.Object
		change  func(m *maintained)
		reason  resticv1.WaitingReason
		says    string
	}{
		"for a backup in progress": {
			objects: []client.Object{agents(), busy}, reason: resticv1.WaitingForBackup,
			says: agenttest.BackupName + " is in progress",
		},
		"for a restore that has not begun": {
			objects: []client.Object{agents(), restoring()}, reason: resticv1.WaitingForRestore, says: "PodVolumeRestore pvr-1",
		},
		"for its turn": {
			objects: []client.Object{agents(), other}, reason: resticv1.WaitingForSlot, says: "concurrency",
		},
		"for the DaemonSet, where it is gone": {
			reason: resticv1.WaitingForDaemonSet, says: "there is no DaemonSet velero/restic",
		},
		"for the repository to be ready": {
			objects: []client.Object{agents()}, reason: resticv1.WaitingForRepository, says: "not ready: wrong password",
			change: func(m *maintained) { m.SetRepository(resticv1.RepositoryNotReady, "wrong password") },
		},
		"for a lock that is in the way": {
			objects: []client.Object{agents()}, reason: resticv1.WaitingForLock, says: "elsewhere",
			change: func(m *maintained) { m.Lock(false) },
		},
	}
	tests := map[string]func(*testing.T){}
	for name, c := range cases {
		tests[name] = func(t *testing.T) {
			var objects []client.Object
			for _, object := range c.objects {
				copied, ok := object.DeepCopyObject().(client.Object)
				if !ok {
					t.Fatal("no object")
				}
				objects = append(objects, copied)
			}
			m := newMaintained(t, objects...)
			if c.change != nil {
				c.change(m)
			}
			m.request(resticv1.RepositoryRequests{Prune: "now"})
			m.wantIdle(c.says)
			since := m.wantPending(resticv1.OperationPrune, "now", c.reason, c.says)
			agenttest.Sleep(time.Minute)
			m.wantIdle(c.says)
			if later := m.wantPending(resticv1.OperationPrune, "now", c.reason, c.says); !later.Equal(since) {
				t.Errorf("it is due since %s, and a minute later since %s", since, later)
			}
			if served := m.Repository().Status.Served.Prune; served != "" {
				t.Errorf("%q counts as served", served)
			}
		}
	}
	agenttest.InBubbles(t, tests)
}

func TestMaintenanceJobsThatGoWrong(t *testing.T) {
	oom := &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}
	cases := map[string]struct {
		reason string
		ended  *corev1.ContainerStateTerminated
		says   []string
	}{
		"out of memory":                  {"BackoffLimitExceeded", oom, []string{"limit is 64Mi", "podResources.memoryLimit", "velero-restic-maintenance"}},
		"restic alone killed":            {"BackoffLimitExceeded", exit(1, `{"result":"Failed","killed":true}`), []string{"limit is 64Mi"}},
		"not done in time":               {batchv1.JobReasonDeadlineExceeded, nil, []string{"24h", "activeDeadline", "maxRepackSize"}},
		"ended without a word":           {"BackoffLimitExceeded", exit(2, "panic: oh"), []string{"ended with 2", "panic: oh"}},
		"its pod deleted by somebody":    {"BackoffLimitExceeded", nil, []string{"its pod is gone"}},
		"its operation failed in restic": {"BackoffLimitExceeded", exit(1, `{"result":"Failed","message":"no space"}`), []string{"no space"}},
	}
	tests := map[string]func(*testing.T){}
	for name, c := range cases {
		tests[name] = func(t *testing.T) {
			m := newMaintained(t, agents(), agenttest.SettingsMap(`{"podResources":{"memoryLimit":"64Mi"}}`))
			m.request(resticv1.RepositoryRequests{Prune: "now"})
			_, job := m.running(resticv1.OperationPrune)
			m.end(job, c.reason, c.ended)
			for _, part := range c.says {
				m.wantCondition(resticv1.ConditionPruned, metav1.ConditionFalse, part)
			}
			m.wantEvents("Warning MaintenanceFailed")
			m.look()
			if len(m.jobs()) != 1 {
				t.Errorf("%d Jobs: it was tried again at once", len(m.jobs()))
			}
		}
	}
	tests["a pod that does not start in time is given up, with the reason"] = func(t *testing.T) {
		m := newMaintained(t, agents())
		m.request(resticv1.RepositoryRequests{Check: "now"})
		_, job := m.running(resticv1.OperationCheck)
		pod := &corev1.Pod{ObjectMeta: agenttest.Meta(agenttest.Velero, job.Name+"-x7x7x")}
		pod.Labels = map[string]string{batchv1.JobNameLabel: job.Name}
		pod.Status.Phase = corev1.PodPending
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"},
		}}}
		m.Create(pod)
		m.look()
		got := m.Repository().Status.Maintenance[0]
		if got.Reason != resticv1.WaitingForPod || !strings.Contains(got.Message, "no such image") {
			t.Errorf("the entry is %+v", got)
		}
		if pending := m.Repository().Status.Pending; pending != nil {
			t.Errorf("%+v is pending beside its Job", pending)
		}
		agenttest.Sleep(jobspec.DefaultStartDeadline + time.Second)
		agenttest.Reconcile(m.World, m.reconciler, m.name)
		m.wantCondition(resticv1.ConditionMaintained, metav1.ConditionFalse, "ImagePullBackOff: no such image")
		if len(m.jobs()) != 0 {
			t.Error("its Job is still there")
		}
	}
	tests["a Job is stopped for a restore, and goes on after it"] = func(t *testing.T) {
		m := newMaintained(t, agents())
		m.request(resticv1.RepositoryRequests{Check: "now"})
		m.running(resticv1.OperationCheck)
		restore := restoring()
		m.Create(restore)
		agenttest.Reconcile(m.World, m.reconciler, m.name)
		stopped := m.Repository().Status.Maintenance[0]
		if len(m.jobs()) != 0 || stopped.Result != resticv1.MaintenanceLocked ||
			stopped.Reason != resticv1.WaitingForRestore || !strings.Contains(stopped.Message, "pvr-1") {
			t.Fatalf("%d Jobs, the entry is %+v", len(m.jobs()), stopped)
		}
		m.changeStatus(func(s *resticv1.ResticRepositoryStatus) { s.Conditions = nil }) // no lock is left
		agenttest.Sleep(time.Minute)
		m.wantIdle("PodVolumeRestore pvr-1")
		m.Remove(restore)
		if again, _ := m.running(resticv1.OperationCheck); again.Request != "now" {
			t.Errorf("the entry is %+v", again)
		}
	}
	tests["a Job that was deleted fails its entry"] = func(t *testing.T) {
		m := newMaintained(t, agents())
		m.request(resticv1.RepositoryRequests{Check: "now"})
		_, job := m.running(resticv1.OperationCheck)
		agenttest.Sleep(jobGrace + time.Second)
		m.Remove(job)
		agenttest.Reconcile(m.World, m.reconciler, m.name)
		m.wantCondition(resticv1.ConditionMaintained, metav1.ConditionFalse, "was deleted")
	}
	tests["a leader that was killed before its Job was made is followed by one that makes it"] = func(t *testing.T) {
		m := newMaintained(t, agents())
		m.request(resticv1.RepositoryRequests{Check: "now"})
		agenttest.Reconcile(m.World, m.reconciler, m.name)
		if len(m.jobs()) != 0 {
			t.Fatal("the Job came before its entry was saved")
		}
		_, job := m.running(resticv1.OperationCheck)
		if job.Name == "" || len(m.jobs()) != 1 {
			t.Errorf("%d Jobs", len(m.jobs()))
		}
	}
	tests["a Job that is refused fails its entry"] = func(t *testing.T) {
		daemonSet := agents()
		daemonSet.Spec.Template.Spec.Containers[0].Name = "renamed"
		m := newMaintained(t, daemonSet)
		m.request(resticv1.RepositoryRequests{Check: "now"})
		m.look()
		m.wantCondition(resticv1.ConditionMaintained, metav1.ConditionFalse, "no container restic")
	}
	tests["a status that somebody else has written is looked at again"] = func(t *testing.T) {
		m := newMaintained(t, agents())
		m.request(resticv1.RepositoryRequests{Check: "now"})
		m.Refuse = func(client.Object) error { return errors.New("the API server is away") }
		if _, err := agenttest.TryReconcile(m.World, m.reconciler, m.name); err == nil {
			t.Error("the failure is hidden")
		}
		m.Refuse = nil
		m.running(resticv1.OperationCheck)
	}
	agenttest.InBubbles(t, tests)
}
