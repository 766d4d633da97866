// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package controller

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// lockedBy is how restic fails beside a lock that was refreshed a minute ago.
func lockedBy(host string) error {
	return &restic.ExitError{Subcommand: "backup", Code: 11, Message: fmt.Sprintf("unable to create lock in backend: "+
		"repository is already locked exclusively by PID 7 on %s by root (UID 0, GID 0) lock was created at 2000-01-01 "+
		"00:00:00 (1m0.5s ago) storage ID 0123abcd the `unlock` command can be used to remove stale locks", host)}
}

// shopRepository is the one of setRepository.
func (w *world) shopRepository() *resticv1.ResticRepository {
	w.t.Helper()
	return get(w, contract.RepositoryName(shop, location), &resticv1.ResticRepository{})
}

// occupy has a Job work on the repository, or have it worked.
func (w *world) occupy(result resticv1.MaintenanceResult) {
	w.t.Helper()
	repository := w.shopRepository()
	repository.Status.Maintenance = []resticv1.Maintenance{{
		Operation: resticv1.OperationPrune, Result: result, Job: "restic-prune-1", StartTime: metav1.Now(),
	}}
	w.updateStatus(repository)
}

// lock is what the leader says of a lock that it has seen.
func (w *world) lock(exclusive bool) {
	w.t.Helper()
	repository, now := w.shopRepository(), metav1.Now()
	repository.Status.Locks = []resticv1.RepositoryLock{{
		ID: "0123abcd", Host: "elsewhere", PID: 7, Exclusive: exclusive, Time: now,
	}}
	repository.Status.LocksTime = &now
	setCondition(repository, resticv1.ConditionUnlocked, metav1.ConditionFalse, resticv1.ReasonLocked, "elsewhere")
	w.updateStatus(repository)
}

func TestBackupBesideOthers(t *testing.T) {
	bubbles(t, map[string]func(*testing.T){
		"waits for a Job that has the repository for itself": func(t *testing.T) {
			b := newBackups(t, podVolumeBackup(pvb, "data"))
			b.occupy(resticv1.MaintenanceRunning)
			again := b.look()
			b.want(resticv1.PhaseNew)
			b.wantMessage("waiting", "restic-prune-1", "Prune")
			b.wantAsked(0)
			b.occupy(resticv1.MaintenanceSucceeded)
			pass(again)
			b.look()
			b.wantAsked(1)
		},
		"waits for a lock that keeps everybody out": func(t *testing.T) {
			b := newBackups(t, podVolumeBackup(pvb, "data"))
			b.lock(true)
			b.look()
			b.wantMessage("waiting", "locked by host elsewhere (process 7)")
			b.wantAsked(0)
			pass(lockKnowledge + time.Second) // nobody has looked since
			b.look()
			b.wantAsked(1)
		},
		"does not wait for a lock that is shared": func(t *testing.T) {
			b := newBackups(t, podVolumeBackup(pvb, "data"))
			b.lock(false)
			b.look()
			b.wantAsked(1)
		},
		"spends no attempt on a lock, and says whose it is": func(t *testing.T) {
			b := newBackups(t, podVolumeBackup(pvb, "data"))
			for i := range maxAttempts + 2 {
				b.look()
				b.wantAsked(i + 1)
				b.answer(transfer.BackupOutcome{}, fmt.Errorf("backing up: %w", lockedBy("restic-of-another-cluster")))
				if got := b.want(resticv1.PhaseNew); got.Status.Attempts != 0 {
					t.Fatalf("%d attempts", got.Status.Attempts)
				}
				b.wantMessage("waiting", "restic-of-another-cluster", "process 7", "1999-12-31T23:5") // a bubble begins in 2000
				again := b.look()
				b.wantAsked(i + 1) // its own write woke it
				pass(again)
			}
			condition := meta.FindStatusCondition(b.shopRepository().Status.Conditions, resticv1.ConditionUnlocked)
			if condition == nil || condition.Status != metav1.ConditionFalse {
				t.Errorf("the condition is %+v", condition)
			}
			b.look()
			b.answer(goodBackup(), nil)
			if got := b.want(resticv1.PhaseCompleted); got.Status.Attempts != 1 || got.Status.Agent != "restic-1" {
				t.Errorf("the status is %+v", got.Status)
			}
		},
		"is canceled at its deadline": func(t *testing.T) {
			b := newBackups(t, podVolumeBackup(pvb, "data"))
			b.occupy(resticv1.MaintenanceRunning)
			b.look()
			pass(4*time.Hour + time.Second)
			b.look()
			b.want(resticv1.PhaseCanceled)
			b.wantMessage("deadline")
		},
		"fails some time without a deadline": func(t *testing.T) {
			asked := podVolumeBackup(pvb, "data")
			asked.Spec.Timeout = metav1.Duration{}
			b := newBackups(t, asked)
			b.occupy(resticv1.MaintenanceRunning)
			b.look()
			b.want(resticv1.PhaseNew)
			pass(lockPatience + time.Second)
			b.look()
			b.want(resticv1.PhaseFailed)
			b.wantMessage("given up after 4h", "restic-prune-1")
		},
		"fails some time without a deadline beside a lock": func(t *testing.T) {
			asked := podVolumeBackup(pvb, "data")
			asked.Spec.Timeout = metav1.Duration{}
			b := newBackups(t, asked)
			b.look()
			pass(lockPatience + time.Second)
			b.answer(transfer.BackupOutcome{}, lockedBy("elsewhere"))
			b.want(resticv1.PhaseFailed)
			b.wantMessage("locked", "elsewhere")
		},
	})
}
