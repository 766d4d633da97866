// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

var noon = time.Date(2026, 5, 20, 12, 0, 0, 0, time.UTC)

// ofClaim is a PodVolumeBackup of claim "claim" that ended that many hours before noon, in a Backup whose UID is its
// name with an exclamation mark.
func ofClaim(backup string, phase resticv1.VolumePhase, hours int) *resticv1.PodVolumeBackup {
	end := metav1.NewTime(noon.Add(-time.Duration(hours) * time.Hour))
	b := &resticv1.PodVolumeBackup{ObjectMeta: metav1.ObjectMeta{
		Name: "pvb-" + backup, UID: types.UID("pvb-" + backup), Labels: map[string]string{
			contract.LabelPVCUID: "claim", contract.LabelBackupName: backup, contract.LabelBackupUID: backup + "!",
		},
	}}
	b.Status.Phase, b.Status.CompletionTimestamp, b.Status.Message = phase, &end, "told by the test"
	return b
}

func veleroBackup(name string, phase velerov1.BackupPhase) *velerov1.Backup {
	return &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name + "!")}, Status: velerov1.BackupStatus{Phase: phase},
	}
}

// TestOutcome has a good backup three hours ago, and then what a case adds to it.
func TestOutcome(t *testing.T) {
	const completed, failed = resticv1.PhaseCompleted, resticv1.PhaseFailed
	cases := map[string]struct {
		given func(h *history)
		// success and failure are how many hours ago they are, 0 for none, and says is part of the failure's message.
		success, failure int
		says             string
	}{
		"nothing else": {func(*history) {}, 3, 0, ""},
		"a later one of a Backup that completed": {func(h *history) {
			h.backups.enter(veleroBackup("new", velerov1.BackupPhaseCompleted))
			h.enter(ofClaim("new", completed, 1))
		}, 1, 0, ""},
		"a Backup that partially failed has its tarball": {func(h *history) {
			h.backups.enter(veleroBackup("new", velerov1.BackupPhasePartiallyFailed))
			h.enter(ofClaim("new", completed, 1))
		}, 1, 0, ""},
		"a Backup that waits for its operations counts for the time being": {func(h *history) {
			h.backups.enter(veleroBackup("new", velerov1.BackupPhaseWaitingForPluginOperations))
			h.enter(ofClaim("new", completed, 1))
		}, 1, 0, ""},
		"and no more when it fails": {func(h *history) {
			h.backups.enter(veleroBackup("new", velerov1.BackupPhaseFinalizing))
			h.enter(ofClaim("new", completed, 1))
			h.backups.enter(veleroBackup("new", velerov1.BackupPhaseFailed))
		}, 3, 1, "Backup new is Failed"},
		"a Backup that failed has no tarball": {func(h *history) {
			h.backups.enter(veleroBackup("new", velerov1.BackupPhaseFailed))
			h.enter(ofClaim("new", completed, 1))
		}, 3, 1, "nothing of it can be restored"},
		"a volume that failed": {func(h *history) {
			h.backups.enter(veleroBackup("new", velerov1.BackupPhasePartiallyFailed))
			h.enter(ofClaim("new", failed, 1))
		}, 3, 1, "told by the test"},
		"a Backup that is gone": {func(h *history) { h.enter(ofClaim("new", completed, 1)) }, 3, 0, ""},
		"a Backup that was deleted": {func(h *history) {
			h.enter(ofClaim("new", completed, 1))
			h.backups.enter(veleroBackup("new", velerov1.BackupPhaseCompleted))
			h.backups.strike(veleroBackup("new", velerov1.BackupPhaseCompleted))
		}, 3, 0, ""},
		"a Backup that Velero deletes": {func(h *history) {
			h.backups.enter(veleroBackup("new", velerov1.BackupPhaseDeleting))
			h.enter(ofClaim("new", completed, 1))
		}, 3, 0, ""},
		"a Backup that somebody deletes": {func(h *history) {
			b := veleroBackup("new", velerov1.BackupPhaseCompleted)
			b.DeletionTimestamp = &metav1.Time{Time: noon}
			stripVeleroBackup(b)
			h.backups.enter(b)
			h.enter(ofClaim("new", completed, 1))
		}, 3, 0, ""},
		"its snapshot is to be forgotten": {func(h *history) {
			h.backups.enter(veleroBackup("new", velerov1.BackupPhaseCompleted))
			b := ofClaim("new", completed, 1)
			h.enter(b)
			b = ofClaim("new", completed, 1)
			b.Spec.Forget = true
			h.enter(b)
		}, 3, 0, ""},
		"one that was made anew to be forgotten is no failure": {func(h *history) {
			h.backups.enter(veleroBackup("new", velerov1.BackupPhaseCompleted))
			b := ofClaim("new", resticv1.PhaseCanceled, 1)
			b.Spec.Forget, b.Spec.Cancel = true, true
			h.enter(b)
		}, 3, 0, ""},
		"it is being deleted": {func(h *history) {
			h.backups.enter(veleroBackup("new", velerov1.BackupPhaseCompleted))
			b := ofClaim("new", completed, 1)
			b.DeletionTimestamp = &metav1.Time{Time: noon}
			h.enter(b)
		}, 3, 0, ""},
		"Velero has found the Backup in the bucket, with another UID": {func(h *history) {
			b := veleroBackup("new", velerov1.BackupPhaseCompleted)
			b.UID = "other"
			h.backups.enter(b)
			h.enter(ofClaim("new", completed, 1))
		}, 1, 0, ""},
		"another Backup of that name, with volumes of its own": {func(h *history) {
			b := veleroBackup("new", velerov1.BackupPhaseCompleted)
			b.UID = "other"
			h.backups.enter(b)
			h.enter(ofClaim("new", completed, 1))
			its := ofClaim("new", completed, 2)
			its.Name, its.UID, its.Labels[contract.LabelBackupUID] = "its", "its", "other"
			h.enter(its)
		}, 2, 0, ""},
		"another Backup of that name that goes on": {func(h *history) {
			b := veleroBackup("new", velerov1.BackupPhaseInProgress)
			b.UID = "other"
			h.backups.enter(b)
			h.enter(ofClaim("new", completed, 1))
		}, 3, 0, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHistory()
			h.backups.enter(veleroBackup("old", velerov1.BackupPhaseCompleted))
			h.enter(ofClaim("old", completed, 3))
			c.given(h)
			out := h.outcome("claim")
			ago := func(at time.Time) int {
				if at.IsZero() {
					return 0
				}
				return int(noon.Sub(at).Hours())
			}
			if ago(out.Success) != c.success || ago(out.Failure) != c.failure || !strings.Contains(out.Message, c.says) {
				t.Errorf("got %+v, want a success %d and a failure %d hours ago that says %q", out, c.success, c.failure, c.says)
			}
		})
	}
}

// TestRunsGoWithTheirAttempts is about memory.
func TestRunsGoWithTheirAttempts(t *testing.T) {
	h := newHistory()
	h.enter(ofClaim("a", resticv1.PhaseCompleted, 1))
	h.enter(ofClaim("a", resticv1.PhaseCompleted, 1))
	h.enter(ofClaim("b", resticv1.PhaseCompleted, 1))
	h.strike(ofClaim("a", resticv1.PhaseCompleted, 1))
	if len(h.runs) != 1 || len(h.attempts["claim"]) != 1 {
		t.Errorf("there are %d runs and %d attempts, want one of each", len(h.runs), len(h.attempts["claim"]))
	}
	h.strike(ofClaim("b", resticv1.PhaseCompleted, 1))
	if len(h.runs)+len(h.attempts) != 0 {
		t.Errorf("there are still %d runs and %d claims", len(h.runs), len(h.attempts))
	}
}

// TestRunning has a Backup of each phase, an hour old or more than a day.
func TestRunning(t *testing.T) {
	for phase, want := range map[velerov1.BackupPhase]bool{
		"": true, velerov1.BackupPhaseNew: true, velerov1.BackupPhaseQueued: true, velerov1.BackupPhaseInProgress: true,
		velerov1.BackupPhaseWaitingForPluginOperations: false, velerov1.BackupPhaseCompleted: false,
		velerov1.BackupPhaseFailed: false,
	} {
		b := backups{}
		enter := func(name, schedule string, age time.Duration) {
			one := veleroBackup(name, phase)
			one.Labels = map[string]string{velerov1.ScheduleNameLabel: schedule, "other": "label"}
			one.CreationTimestamp = metav1.NewTime(noon.Add(-age))
			stripVeleroBackup(one)
			b.enter(one)
		}
		enter("young", "daily", time.Hour)
		enter("old", "weekly", 25*time.Hour)
		enter("manual", "", time.Hour)
		enter("younger", "daily", time.Minute)
		expected := map[string]time.Time{}
		if want {
			expected["daily"] = noon.Add(-time.Hour)
		}
		if diff := cmp.Diff(expected, b.running(noon)); diff != "" {
			t.Errorf("phase %q (-want +got): %s", phase, diff)
		}
	}
}
