// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// operationLimit is how long a backup or restore of a few volumes may take, including the time in Velero's queue on a
// busy machine.
const operationLimit = 4 * time.Minute

// customResources are all kinds of this project, as arguments of kubectl.
const customResources = "podvolumebackups.restic.velero.io,podvolumerestores.restic.velero.io," +
	"resticrepositories.restic.velero.io"

// backUp runs `velero backup create` and waits for the end of the backup.
func backUp(t *testing.T, name string, flags ...string) *velerov1.Backup {
	t.Helper()
	veleroCLI(t, append([]string{"backup", "create", name}, flags...)...)
	return waitBackup(t, name, operationLimit)
}

// waitBackup waits until the backup has ended, in whatever phase.
func waitBackup(t *testing.T, name string, limit time.Duration) *velerov1.Backup {
	t.Helper()
	var backup velerov1.Backup
	eventually(t, limit, "end of backup "+name, func() error {
		var err error
		backup, err = tryGet[velerov1.Backup](t, velero.Namespace, name)
		if err != nil {
			return err
		}
		switch backup.Status.Phase {
		case velerov1.BackupPhaseCompleted, velerov1.BackupPhasePartiallyFailed, velerov1.BackupPhaseFailed,
			velerov1.BackupPhaseFailedValidation:
			return nil
		default:
			return fmt.Errorf("its phase is %q", backup.Status.Phase)
		}
	})
	status := backup.Status
	t.Logf("backup %s: %s in %s, %d errors, %d warnings, %d operations", name, status.Phase,
		elapsed(status.StartTimestamp, status.CompletionTimestamp), status.Errors, status.Warnings,
		status.BackupItemOperationsAttempted)
	return &backup
}

// elapsed is 0 for an operation that did not start or has not ended.
func elapsed(start, end *metav1.Time) time.Duration {
	if start == nil || end == nil {
		return 0
	}
	return end.Sub(start.Time)
}

// wantCompleted wants the backup Completed without errors and warnings.
func wantCompleted(t *testing.T, backup *velerov1.Backup) {
	t.Helper()
	status := backup.Status
	if status.Phase == velerov1.BackupPhaseCompleted && status.Errors == 0 && status.Warnings == 0 {
		return
	}
	t.Errorf("backup %s is %s with %d errors and %d warnings, want Completed without:\n%s", backup.Name, status.Phase,
		status.Errors, status.Warnings, strings.Join(warningsAndErrors(t, "backup", backup.Name), "\n"))
}

// wantPhase wants the backup in this phase.
func wantPhase(t *testing.T, backup *velerov1.Backup, phase velerov1.BackupPhase) {
	t.Helper()
	if backup.Status.Phase != phase {
		t.Errorf("backup %s is %s, want %s", backup.Name, backup.Status.Phase, phase)
	}
}

// restore runs `velero restore create` and waits for the end of the restore.
func restore(t *testing.T, name, backup string, flags ...string) *velerov1.Restore {
	t.Helper()
	veleroCLI(t, append([]string{"restore", "create", name, "--from-backup", backup}, flags...)...)
	return waitRestore(t, name)
}

// waitRestore waits until the restore has ended, in whatever phase.
func waitRestore(t *testing.T, name string) *velerov1.Restore {
	t.Helper()
	var restore velerov1.Restore
	eventually(t, operationLimit, "end of restore "+name, func() error {
		var err error
		restore, err = tryGet[velerov1.Restore](t, velero.Namespace, name)
		if err != nil {
			return err
		}
		switch restore.Status.Phase {
		case velerov1.RestorePhaseCompleted, velerov1.RestorePhasePartiallyFailed, velerov1.RestorePhaseFailed,
			velerov1.RestorePhaseFailedValidation:
			return nil
		default:
			return fmt.Errorf("its phase is %q", restore.Status.Phase)
		}
	})
	status := restore.Status
	t.Logf("restore %s: %s in %s, %d errors, %d warnings, %d operations", name, status.Phase,
		elapsed(status.StartTimestamp, status.CompletionTimestamp), status.Errors, status.Warnings,
		status.RestoreItemOperationsAttempted)
	return &restore
}

// wantRestored wants the restore Completed without errors. Velero warns of objects that exist already, such as the
// ConfigMap with the cluster's certificate in each namespace; no warning may come from this project.
func wantRestored(t *testing.T, restore *velerov1.Restore) {
	t.Helper()
	lines := warningsAndErrors(t, "restore", restore.Name)
	if restore.Status.Phase != velerov1.RestorePhaseCompleted || restore.Status.Errors > 0 {
		t.Errorf("restore %s is %s with %d errors, want Completed without:\n%s",
			restore.Name, restore.Status.Phase, restore.Status.Errors, strings.Join(lines, "\n"))
	}
	for _, line := range append(lines, warningsOf(veleroCLI(t, "restore", "describe", restore.Name))...) {
		if fromThisProject(line) {
			t.Errorf("restore %s has a warning or error of this project: %s", restore.Name, line)
		}
	}
}

// warningsOf returns the lines that `velero restore describe` prints under Warnings.
func warningsOf(described string) []string {
	_, after, _ := strings.Cut(described, "\nWarnings:")
	warnings, _, _ := strings.Cut(after, "\nBackup:")
	return strings.Split(warnings, "\n")
}

// warningsAndErrors returns those lines of the log of a backup or restore.
func warningsAndErrors(t *testing.T, kind, name string) []string {
	t.Helper()
	var found []string
	for line := range strings.SplitSeq(veleroCLI(t, kind, "logs", name, "--timeout=60s"), "\n") {
		if strings.Contains(line, " level=warning ") || strings.Contains(line, " level=error ") {
			found = append(found, line)
		}
	}
	return found
}

// fromThisProject returns whether the plugin wrote the line of a log, or the line names an object of this project.
func fromThisProject(line string) bool {
	return strings.Contains(line, "velero-plugin-for-restic") || strings.Contains(line, resticv1.GroupName) ||
		strings.Contains(line, "velero.io/restic") || strings.Contains(line, "velero-restic")
}

func ofBackup(name string) client.ListOption {
	return client.MatchingLabels{velerov1.BackupNameLabel: name}
}

// podVolumeBackups returns the PodVolumeBackups of a backup by POD/VOLUME. Two of one volume fail the test.
func podVolumeBackups(t *testing.T, backup string) map[string]resticv1.PodVolumeBackup {
	t.Helper()
	found := map[string]resticv1.PodVolumeBackup{}
	for _, item := range list[resticv1.PodVolumeBackupList](t, inVelero(), ofBackup(backup)).Items {
		key := item.Spec.Pod.Name + "/" + item.Spec.Volume
		if _, twice := found[key]; twice {
			t.Errorf("backup %s has two PodVolumeBackups of %s", backup, key)
		}
		found[key] = item
	}
	return found
}

// podVolumeRestores returns the PodVolumeRestores of a restore by POD/VOLUME.
func podVolumeRestores(t *testing.T, restore string) map[string]resticv1.PodVolumeRestore {
	t.Helper()
	selected := client.MatchingLabels{velerov1.RestoreNameLabel: restore}
	found := map[string]resticv1.PodVolumeRestore{}
	for _, item := range list[resticv1.PodVolumeRestoreList](t, inVelero(), selected).Items {
		found[item.Spec.Pod.Name+"/"+item.Spec.Volume] = item
	}
	return found
}

// waitReading waits until restic reads the volume POD/VOLUME, and returns its PodVolumeBackup.
func waitReading(t *testing.T, backup, volume string) resticv1.PodVolumeBackup {
	t.Helper()
	var object resticv1.PodVolumeBackup
	eventually(t, time.Minute, "restic reads volume "+volume, func() error {
		object = podVolumeBackups(t, backup)[volume]
		if object.Status.Phase != resticv1.PhaseInProgress || object.Status.Progress.BytesDone == 0 {
			return fmt.Errorf("the PodVolumeBackup is %q: %+v", object.Status.Phase, object.Status.Progress)
		}
		return nil
	})
	return object
}

// wantBackedUp wants a snapshot of exactly these volumes, as POD/VOLUME, and returns their PodVolumeBackups.
func wantBackedUp(t *testing.T, backup string, volumes ...string) map[string]resticv1.PodVolumeBackup {
	t.Helper()
	found := podVolumeBackups(t, backup)
	for _, volume := range volumes {
		status := found[volume].Status
		if status.Phase != resticv1.PhaseCompleted || len(status.SnapshotID) != 64 {
			t.Errorf("backup %s: PodVolumeBackup of %s is %q with snapshot %q (%s), want Completed with a snapshot",
				backup, volume, status.Phase, status.SnapshotID, status.Message)
		}
	}
	if len(found) != len(volumes) {
		t.Errorf("backup %s has %d PodVolumeBackups, want %d: %v", backup, len(found), len(volumes), volumes)
	}
	return found
}

// deleteBackup runs `velero backup delete` and waits until the backup and its PodVolumeBackups are gone.
func deleteBackup(t *testing.T, name string) {
	t.Helper()
	start := time.Now()
	veleroCLI(t, "backup", "delete", name, "--confirm")
	eventually(t, time.Minute, "deletion of backup "+name, func() error {
		if err := checkGone[velerov1.Backup](t, velero.Namespace, name); err != nil {
			return err
		}
		if left := podVolumeBackups(t, name); len(left) > 0 {
			return fmt.Errorf("%d PodVolumeBackups still exist", len(left))
		}
		return nil
	})
	t.Logf("backup %s and its snapshots deleted in %.1f s", name, time.Since(start).Seconds())
}
