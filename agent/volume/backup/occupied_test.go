// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package backup

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/velero-restic/velero-plugin-for-restic/agent/agenttest"
	"github.com/velero-restic/velero-plugin-for-restic/agent/occupied"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/agent/volume"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

func TestBackupWaitsForRepository(t *testing.T) {
	agenttest.InBubbles(t, map[string]func(*testing.T){
		"waits for a Job that has the repository for itself": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.Occupy(resticv1.MaintenanceRunning)
			again := b.look()
			b.want(resticv1.PhaseNew)
			b.wantWaiting(resticv1.WaitingForMaintenance, "restic-prune-1", "Prune")
			b.wantAsked(0)
			b.Occupy(resticv1.MaintenanceSucceeded)
			agenttest.Sleep(again)
			b.look()
			b.wantAsked(1)
		},
		"waits for a lock that keeps everybody out": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.Lock(true)
			b.look()
			b.wantWaiting(resticv1.WaitingForLock, "locked by host elsewhere (process 7)")
			b.wantAsked(0)
			agenttest.Sleep(occupied.LockMaxAge + time.Second) // nobody has looked since
			b.look()
			b.wantAsked(1)
		},
		"does not wait for a lock that is shared": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.Lock(false)
			b.look()
			b.wantAsked(1)
		},
		"spends no attempt on a lock, and says whose it is": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			for i := range volume.MaxAttempts + 2 {
				b.look()
				b.wantAsked(i + 1)
				b.Answer(transfer.BackupOutcome{}, fmt.Errorf("backing up: %w", agenttest.LockedBy("restic-of-another-cluster")))
				if got := b.want(resticv1.PhaseNew); got.Status.Attempts != 0 {
					t.Fatalf("%d attempts", got.Status.Attempts)
				}
				b.wantWaiting(resticv1.WaitingForLock, "restic-of-another-cluster", "process 7",
					"1999-12-31T23:5") // a bubble begins in 2000
				again := b.look()
				b.wantAsked(i + 1) // its own write woke it
				agenttest.Sleep(again)
			}
			condition := meta.FindStatusCondition(b.Repository().Status.Conditions, resticv1.ConditionUnlocked)
			if condition == nil || condition.Status != metav1.ConditionFalse {
				t.Errorf("the condition is %+v", condition)
			}
			b.look()
			b.Answer(goodBackup(), nil)
			if got := b.want(resticv1.PhaseCompleted); got.Status.Attempts != 1 || got.Status.Agent != "restic-1" {
				t.Errorf("the status is %+v", got.Status)
			}
		},
		"is canceled at its deadline": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.Occupy(resticv1.MaintenanceRunning)
			b.look()
			agenttest.Sleep(4*time.Hour + time.Second)
			b.look()
			b.want(resticv1.PhaseCanceled)
			b.wantMessage("deadline")
		},
		"fails some time without a deadline": func(t *testing.T) {
			asked := agenttest.PodVolumeBackup(agenttest.BackupName, "data")
			asked.Spec.Timeout = metav1.Duration{}
			b := newBackups(t, asked)
			b.Occupy(resticv1.MaintenanceRunning)
			b.look()
			b.want(resticv1.PhaseNew)
			agenttest.Sleep(volume.MaxLockWait + time.Second)
			b.look()
			b.want(resticv1.PhaseFailed)
			b.wantMessage("given up after 4h", "restic-prune-1")
		},
		"fails some time without a deadline beside a lock": func(t *testing.T) {
			asked := agenttest.PodVolumeBackup(agenttest.BackupName, "data")
			asked.Spec.Timeout = metav1.Duration{}
			b := newBackups(t, asked)
			b.look()
			agenttest.Sleep(volume.MaxLockWait + time.Second)
			b.Answer(transfer.BackupOutcome{}, agenttest.LockedBy("elsewhere"))
			b.want(resticv1.PhaseFailed)
			b.wantMessage("locked", "elsewhere")
		},
	})
}
