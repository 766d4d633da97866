// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package maintenance

import (
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/velero-restic/velero-plugin-for-restic/agent/agenttest"
	"github.com/velero-restic/velero-plugin-for-restic/agent/maintenance/jobspec"
	"github.com/velero-restic/velero-plugin-for-restic/agent/occupied"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// ask asks for a list by a word.
func (m *maintained) ask(word string) {
	m.T.Helper()
	m.change(func(r *resticv1.ResticRepository) { r.Spec.Requests.Snapshots = word })
}

// wantListFailed looks for the newest list, which has failed and says so everywhere.
func (m *maintained) wantListFailed(word, says string) {
	m.T.Helper()
	status := m.Repository().Status
	entry := lastMaintenance(m.Repository(), resticv1.OperationSnapshots)
	if entry == nil || entry.Result != resticv1.MaintenanceFailed || !strings.Contains(entry.Message, says) ||
		entry.Request != word || status.Served.Snapshots != word || entry.CompletionTime == nil {
		m.T.Errorf("the entry is %+v, served is %+v, want %q", entry, status.Served, says)
	}
	m.wantEvents("Warning MaintenanceFailed", says)
	if meta.IsStatusConditionFalse(status.Conditions, resticv1.ConditionMaintained) ||
		meta.IsStatusConditionFalse(status.Conditions, resticv1.ConditionUnlocked) {
		m.T.Errorf("the conditions are %+v", status.Conditions)
	}
}

func TestListBlocksNothing(t *testing.T) {
	busy := agenttest.PodVolumeBackup(agenttest.BackupName, "data")
	busy.Status.Phase = resticv1.PhaseInProgress
	agenttest.InBubbles(t, map[string]func(*testing.T){
		"a list begins beside a prune that runs, and neither waits for the other": func(t *testing.T) {
			m := newMaintained(t, agents())
			m.request(resticv1.RepositoryRequests{Prune: "now"})
			_, prune := m.running(resticv1.OperationPrune)
			m.ask("one")
			_, list := m.running(resticv1.OperationSnapshots)
			if still := occupied.RunningJob(m.Repository()); still == nil || still.Job != prune.Name {
				t.Fatalf("running is %+v", still)
			}
			if now := occupied.ByJob(m.Repository()); !strings.Contains(now, prune.Name) {
				t.Errorf("the repository is taken by %q", now)
			}
			m.end(prune, "", exit(0, `{"result":"Succeeded"}`))
			m.request(resticv1.RepositoryRequests{Check: "now", Snapshots: "one"})
			_, check := m.running(resticv1.OperationCheck)
			m.end(list, "", exit(0, `{"result":"Succeeded","message":"listed 3 of 3 snapshots"}`))
			m.end(check, "", exit(0, `{"result":"Succeeded"}`))
			entry := lastMaintenance(m.Repository(), resticv1.OperationSnapshots)
			if entry.Result != resticv1.MaintenanceSucceeded || entry.Job != list.Name || entry.Request != "one" {
				t.Errorf("the entry is %+v", entry)
			}
			m.wantEvents("Snapshots by Job "+list.Name+" begins", "listed 3 of 3")
			m.look()
			if count := len(m.jobs()); count != 3 {
				t.Errorf("%d Jobs: a word was served twice", count)
			}
		},
		"a list is not stopped for a restore": func(t *testing.T) {
			m := newMaintained(t, agents(), restoring())
			m.ask("one")
			_, job := m.running(resticv1.OperationSnapshots)
			m.look()
			if len(m.jobs()) != 1 {
				t.Fatal("its Job is gone")
			}
			m.end(job, "", exit(0, `{"result":"Succeeded"}`))
		},
		"a list is made while a foreign lock is in the way of others": func(t *testing.T) {
			m := newMaintained(t, agents(), busy.DeepCopy())
			m.Lock(true)
			m.ask("one")
			_, job := m.running(resticv1.OperationSnapshots)
			m.end(job, "", exit(0, `{"result":"Succeeded"}`))
			m.wantCondition(resticv1.ConditionUnlocked, metav1.ConditionFalse, "")
		},
		"no more lists are made at a time than may": func(t *testing.T) {
			m := newMaintained(t, agents())
			var others []*resticv1.ResticRepository
			for i := range maxListings {
				other := &resticv1.ResticRepository{ObjectMeta: agenttest.Meta(agenttest.Velero, fmt.Sprintf("other-%d", i))}
				other.Status.Maintenance = []resticv1.Maintenance{{
					Operation: resticv1.OperationSnapshots, Result: resticv1.MaintenanceRunning, StartTime: metav1.Now(),
				}}
				m.Create(other)
				m.UpdateStatus(other)
				others = append(others, other)
			}
			m.ask("one")
			m.look()
			if len(m.jobs()) != 0 {
				t.Fatal("it was made at once")
			}
			m.Remove(others[0])
			m.running(resticv1.OperationSnapshots)
		},
		"a pending repository is waited for": func(t *testing.T) {
			m := newMaintained(t, agents())
			m.SetRepository(resticv1.RepositoryNew, "")
			m.ask("one")
			m.look()
			if word := m.Repository().Status.Served.Snapshots; word != "" {
				t.Errorf("%q counts as served", word)
			}
			m.SetRepository(resticv1.RepositoryReady, "")
			m.running(resticv1.OperationSnapshots)
		},
	})
}

func TestListThatFails(t *testing.T) {
	agenttest.InBubbles(t, map[string]func(*testing.T){
		"at once where the repository is not ready, each time that it is asked for": func(t *testing.T) {
			m := newMaintained(t, agents())
			m.SetRepository(resticv1.RepositoryNotReady, "the password does not open it")
			for _, word := range []string{"one", "two"} {
				m.ask(word)
				m.look()
				m.wantListFailed(word, "the password does not open it")
			}
			if len(m.jobs()) != 0 {
				t.Error("a Job was made")
			}
		},
		"at once where there is no DaemonSet": func(t *testing.T) {
			m := newMaintained(t)
			m.ask("one")
			m.look()
			m.wantListFailed("one", "there is no DaemonSet velero/restic")
		},
		"with what restic says": func(t *testing.T) {
			m := newMaintained(t, agents())
			m.ask("one")
			_, job := m.running(resticv1.OperationSnapshots)
			m.end(job, "BackoffLimitExceeded", exit(1, `{"result":"Failed","message":"no such bucket"}`))
			m.wantListFailed("one", "no such bucket")
			agenttest.Sleep(3 * time.Hour)
			m.look()
			if len(m.jobs()) != 1 {
				t.Error("it was tried again, which nobody has asked for")
			}
		},
		"even by a lock": func(t *testing.T) {
			m := newMaintained(t, agents())
			m.ask("one")
			_, job := m.running(resticv1.OperationSnapshots)
			m.end(job, "BackoffLimitExceeded", exit(1, `{"result":"Locked","message":"locked by elsewhere"}`))
			m.wantListFailed("one", "locked by elsewhere")
		},
		"when it takes too long": func(t *testing.T) {
			m := newMaintained(t, agents())
			m.ask("one")
			_, job := m.running(resticv1.OperationSnapshots)
			m.end(job, batchv1.JobReasonDeadlineExceeded, nil)
			m.wantListFailed("one", "not done within 30m0s")
		},
		"when its pod never runs": func(t *testing.T) {
			m := newMaintained(t, agents())
			m.ask("one")
			m.running(resticv1.OperationSnapshots)
			agenttest.Sleep(jobspec.DefaultStartDeadline + time.Second)
			m.look()
			m.wantListFailed("one", "startDeadline")
		},
	})
}

func TestListJobsPushOutNoOthers(t *testing.T) {
	agenttest.InBubbles(t, map[string]func(*testing.T){
		"": func(t *testing.T) {
			m := newMaintained(t, agents(), agenttest.SettingsMap(`{"keepLatestMaintenanceJobs": 1}`))
			m.request(resticv1.RepositoryRequests{Prune: "now"})
			_, prune := m.running(resticv1.OperationPrune)
			m.end(prune, "", exit(0, `{"result":"Succeeded"}`))
			for i := range resticv1.MaxMaintenance + 2 {
				agenttest.Sleep(time.Minute)
				m.ask(fmt.Sprint(i))
				_, job := m.running(resticv1.OperationSnapshots)
				m.end(job, "", exit(0, `{"result":"Succeeded"}`))
			}
			kept := map[string]int{}
			for _, job := range m.jobs() {
				kept[job.Labels[contract.LabelOperation]]++
			}
			if kept["prune"] != 1 || kept["snapshots"] != resticv1.MaxMaintenance {
				t.Errorf("kept are %v", kept)
			}
			history := 0
			for _, entry := range m.Repository().Status.Maintenance {
				if entry.Operation == resticv1.OperationSnapshots {
					history++
				}
			}
			if history != resticv1.MaxMaintenance {
				t.Errorf("the history has %d lists", history)
			}
		},
	})
}
