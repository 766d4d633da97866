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

// ofClaim returns a PodVolumeBackup of claim "claim" that ended that many hours before noon. The UID of its Backup is
// the name with an exclamation mark.
func ofClaim(backup string, phase resticv1.VolumePhase, hours int) *resticv1.PodVolumeBackup {
	end := metav1.NewTime(noon.Add(-time.Duration(hours) * time.Hour))
	b := &resticv1.PodVolumeBackup{ObjectMeta: metav1.ObjectMeta{
		Name: "pvb-" + backup, UID: types.UID("pvb-" + backup), Labels: map[string]string{
			contract.LabelPVCUID: "claim", contract.LabelBackupName: backup, contract.LabelBackupUID: backup + "!",
		},
	}}
	b.Status.Phase, b.Status.CompletionTimestamp, b.Status.Message = phase, &end, "message of the test"
	return b
}

func veleroBackup(name string, phase velerov1.BackupPhase) *velerov1.Backup {
	return &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name + "!")}, Status: velerov1.BackupStatus{Phase: phase},
	}
}

// TestOutcome adds the objects of a case to a successful backup three hours ago.
func TestOutcome(t *testing.T) {
	const completed, failed = resticv1.PhaseCompleted, resticv1.PhaseFailed
	cases := map[string]struct {
		given func(h *history)
		// success and failure are how many hours ago they happened, 0 for never; says is a part of the failure's
		// message.
		success, failure int
		says             string
	}{
		"nothing else": {func(*history) {}, 3, 0, ""},
		"a later one of a completed Backup": {func(h *history) {
			h.backups.add(veleroBackup("new", velerov1.BackupPhaseCompleted))
			h.add(ofClaim("new", completed, 1))
		}, 1, 0, ""},
		"a Backup that partially failed": {func(h *history) {
			h.backups.add(veleroBackup("new", velerov1.BackupPhasePartiallyFailed))
			h.add(ofClaim("new", completed, 1))
		}, 1, 0, ""},
		"a Backup that waits for plugin operations": {func(h *history) {
			h.backups.add(veleroBackup("new", velerov1.BackupPhaseWaitingForPluginOperations))
			h.add(ofClaim("new", completed, 1))
		}, 1, 0, ""},
		"a Backup that fails while finalizing": {func(h *history) {
			h.backups.add(veleroBackup("new", velerov1.BackupPhaseFinalizing))
			h.add(ofClaim("new", completed, 1))
			h.backups.add(veleroBackup("new", velerov1.BackupPhaseFailed))
		}, 3, 1, "Backup new is Failed"},
		"a Backup that failed": {func(h *history) {
			h.backups.add(veleroBackup("new", velerov1.BackupPhaseFailed))
			h.add(ofClaim("new", completed, 1))
		}, 3, 1, "it cannot be restored"},
		"a volume that failed": {func(h *history) {
			h.backups.add(veleroBackup("new", velerov1.BackupPhasePartiallyFailed))
			h.add(ofClaim("new", failed, 1))
		}, 3, 1, "message of the test"},
		"a Backup that does not exist": {func(h *history) { h.add(ofClaim("new", completed, 1)) }, 3, 0, ""},
		"a Backup that was deleted": {func(h *history) {
			h.add(ofClaim("new", completed, 1))
			h.backups.add(veleroBackup("new", velerov1.BackupPhaseCompleted))
			h.backups.remove(veleroBackup("new", velerov1.BackupPhaseCompleted))
		}, 3, 0, ""},
		"a Backup that Velero deletes": {func(h *history) {
			h.backups.add(veleroBackup("new", velerov1.BackupPhaseDeleting))
			h.add(ofClaim("new", completed, 1))
		}, 3, 0, ""},
		"a Backup with a deletion timestamp": {func(h *history) {
			b := veleroBackup("new", velerov1.BackupPhaseCompleted)
			b.DeletionTimestamp = &metav1.Time{Time: noon}
			stripVeleroBackup(b)
			h.backups.add(b)
			h.add(ofClaim("new", completed, 1))
		}, 3, 0, ""},
		"its snapshot will be forgotten": {func(h *history) {
			h.backups.add(veleroBackup("new", velerov1.BackupPhaseCompleted))
			b := ofClaim("new", completed, 1)
			h.add(b)
			b = ofClaim("new", completed, 1)
			b.Spec.Forget = true
			h.add(b)
		}, 3, 0, ""},
		"one that was re-created to be forgotten": {func(h *history) {
			h.backups.add(veleroBackup("new", velerov1.BackupPhaseCompleted))
			b := ofClaim("new", resticv1.PhaseCanceled, 1)
			b.Spec.Forget, b.Spec.Cancel = true, true
			h.add(b)
		}, 3, 0, ""},
		"it is being deleted": {func(h *history) {
			h.backups.add(veleroBackup("new", velerov1.BackupPhaseCompleted))
			b := ofClaim("new", completed, 1)
			b.DeletionTimestamp = &metav1.Time{Time: noon}
			h.add(b)
		}, 3, 0, ""},
		"Velero synced the Backup from the bucket, with another UID": {func(h *history) {
			b := veleroBackup("new", velerov1.BackupPhaseCompleted)
			b.UID = "other"
			h.backups.add(b)
			h.add(ofClaim("new", completed, 1))
		}, 1, 0, ""},
		"another Backup of that name, with its own volumes": {func(h *history) {
			b := veleroBackup("new", velerov1.BackupPhaseCompleted)
			b.UID = "other"
			h.backups.add(b)
			h.add(ofClaim("new", completed, 1))
			its := ofClaim("new", completed, 2)
			its.Name, its.UID, its.Labels[contract.LabelBackupUID] = "its", "its", "other"
			h.add(its)
		}, 2, 0, ""},
		"another Backup of that name that is in progress": {func(h *history) {
			b := veleroBackup("new", velerov1.BackupPhaseInProgress)
			b.UID = "other"
			h.backups.add(b)
			h.add(ofClaim("new", completed, 1))
		}, 3, 0, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHistory()
			h.backups.add(veleroBackup("old", velerov1.BackupPhaseCompleted))
			h.add(ofClaim("old", completed, 3))
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

// TestRunsAreRemoved removes attempts and expects that their runs are removed from memory.
func TestRunsAreRemoved(t *testing.T) {
	h := newHistory()
	h.add(ofClaim("a", resticv1.PhaseCompleted, 1))
	h.add(ofClaim("a", resticv1.PhaseCompleted, 1))
	h.add(ofClaim("b", resticv1.PhaseCompleted, 1))
	h.remove(ofClaim("a", resticv1.PhaseCompleted, 1))
	if len(h.runs) != 1 || len(h.attempts["claim"]) != 1 {
		t.Errorf("there are %d runs and %d attempts, want one of each", len(h.runs), len(h.attempts["claim"]))
	}
	h.remove(ofClaim("b", resticv1.PhaseCompleted, 1))
	if len(h.runs)+len(h.attempts) != 0 {
		t.Errorf("there are still %d runs and %d claims", len(h.runs), len(h.attempts))
	}
}

// TestRunning has Backups of each phase, created an hour ago or more than a day ago.
func TestRunning(t *testing.T) {
	for phase, want := range map[velerov1.BackupPhase]bool{
		"": true, velerov1.BackupPhaseNew: true, velerov1.BackupPhaseQueued: true, velerov1.BackupPhaseInProgress: true,
		velerov1.BackupPhaseWaitingForPluginOperations: false, velerov1.BackupPhaseCompleted: false,
		velerov1.BackupPhaseFailed: false,
	} {
		b := backups{}
		add := func(name, schedule string, age time.Duration) {
			one := veleroBackup(name, phase)
			one.Labels = map[string]string{velerov1.ScheduleNameLabel: schedule, "other": "label"}
			one.CreationTimestamp = metav1.NewTime(noon.Add(-age))
			stripVeleroBackup(one)
			b.add(one)
		}
		add("young", "daily", time.Hour)
		add("old", "weekly", 25*time.Hour)
		add("manual", "", time.Hour)
		add("younger", "daily", time.Minute)
		expected := map[string]time.Time{}
		if want {
			expected["daily"] = noon.Add(-time.Hour)
		}
		if diff := cmp.Diff(expected, b.running(noon)); diff != "" {
			t.Errorf("phase %q (-want +got): %s", phase, diff)
		}
	}
}
