// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// operationLimit is how long a backup or restore of a few volumes may take. Others may be before it in
// Velero's queue, on a machine that has other things to do.
const operationLimit = 4 * time.Minute

// backUp is `velero backup create`, and its end.
func backUp(t *testing.T, name string, flags ...string) *velerov1.Backup {
	t.Helper()
	veleroCLI(t, append([]string{"backup", "create", name}, flags...)...)
	return waitBackup(t, name, operationLimit)
}

func waitBackup(t *testing.T, name string, limit time.Duration) *velerov1.Backup {
	t.Helper()
	var backup velerov1.Backup
	eventually(t, limit, "end of backup "+name, func() error {
		var err error
		backup, err = tryGet[velerov1.Backup](t, "-n", velero.Namespace, "backups.velero.io", name)
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
	took := time.Duration(0)
	if status.StartTimestamp != nil && status.CompletionTimestamp != nil {
		took = status.CompletionTimestamp.Sub(status.StartTimestamp.Time)
	}
	t.Logf("backup %s: %s in %s, %d errors, %d warnings, %d operations",
		name, status.Phase, took, status.Errors, status.Warnings, status.BackupItemOperationsAttempted)
	return &backup
}

// wantCompleted is for a backup with which nothing may be wrong.
func wantCompleted(t *testing.T, backup *velerov1.Backup) {
	t.Helper()
	status := backup.Status
	if status.Phase == velerov1.BackupPhaseCompleted && status.Errors == 0 && status.Warnings == 0 {
		return
	}
	t.Errorf("backup %s is %s with %d errors and %d warnings, want Completed without:\n%s", backup.Name, status.Phase,
		status.Errors, status.Warnings, strings.Join(warningsAndErrors(t, "backup", backup.Name), "\n"))
}

// restore is `velero restore create`, and its end.
func restore(t *testing.T, name, backup string, flags ...string) *velerov1.Restore {
	t.Helper()
	veleroCLI(t, append([]string{"restore", "create", name, "--from-backup", backup}, flags...)...)
	return waitRestore(t, name)
}

func waitRestore(t *testing.T, name string) *velerov1.Restore {
	t.Helper()
	var restore velerov1.Restore
	eventually(t, operationLimit, "end of restore "+name, func() error {
		var err error
		restore, err = tryGet[velerov1.Restore](t, "-n", velero.Namespace, "restores.velero.io", name)
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
	took := time.Duration(0)
	if status.StartTimestamp != nil && status.CompletionTimestamp != nil {
		took = status.CompletionTimestamp.Sub(status.StartTimestamp.Time)
	}
	t.Logf("restore %s: %s in %s, %d errors, %d warnings, %d operations",
		name, status.Phase, took, status.Errors, status.Warnings, status.RestoreItemOperationsAttempted)
	return &restore
}

// wantRestored is for a restore with which nothing may be wrong. Velero has warnings of its own about what exists
// already, such as the namespace's ConfigMap with the cluster's certificate; none of them may be ours.
func wantRestored(t *testing.T, restore *velerov1.Restore) {
	t.Helper()
	lines := warningsAndErrors(t, "restore", restore.Name)
	if restore.Status.Phase != velerov1.RestorePhaseCompleted || restore.Status.Errors > 0 {
		t.Errorf("restore %s is %s with %d errors, want Completed without:\n%s",
			restore.Name, restore.Status.Phase, restore.Status.Errors, strings.Join(lines, "\n"))
	}
	for _, line := range append(lines, warningsOf(veleroCLI(t, "restore", "describe", restore.Name))...) {
		if fromThisProject(line) {
			t.Errorf("restore %s has a complaint of ours: %s", restore.Name, line)
		}
	}
}

// warningsOf is what `velero restore describe` prints under Warnings, by line.
func warningsOf(described string) []string {
	_, after, _ := strings.Cut(described, "\nWarnings:")
	warnings, _, _ := strings.Cut(after, "\nBackup:")
	return strings.Split(warnings, "\n")
}

// warningsAndErrors are the warnings and errors in the log of a backup or restore.
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

// fromThisProject says whether a line of a log is from the plugin, or about one of our objects.
func fromThisProject(line string) bool {
	return strings.Contains(line, "velero-plugin-for-restic") || strings.Contains(line, resticv1.GroupName) ||
		strings.Contains(line, "velero.io/restic") || strings.Contains(line, "velero-restic")
}

// podVolumeBackups are the CRs of a backup, by POD/VOLUME. Each must be there once.
func podVolumeBackups(t *testing.T, backup string) map[string]resticv1.PodVolumeBackup {
	t.Helper()
	list := get[resticv1.PodVolumeBackupList](t, "-n", velero.Namespace, "podvolumebackups.restic.velero.io",
		"-l", "velero.io/backup-name="+backup)
	found := map[string]resticv1.PodVolumeBackup{}
	for _, item := range list.Items {
		key := item.Spec.Pod.Name + "/" + item.Spec.Volume
		if _, twice := found[key]; twice {
			t.Errorf("backup %s has two PodVolumeBackups of %s", backup, key)
		}
		found[key] = item
	}
	return found
}

// podVolumeRestores are the CRs of a restore, by POD/VOLUME.
func podVolumeRestores(t *testing.T, restore string) map[string]resticv1.PodVolumeRestore {
	t.Helper()
	list := get[resticv1.PodVolumeRestoreList](t, "-n", velero.Namespace, "podvolumerestores.restic.velero.io",
		"-l", "velero.io/restore-name="+restore)
	found := map[string]resticv1.PodVolumeRestore{}
	for _, item := range list.Items {
		found[item.Spec.Pod.Name+"/"+item.Spec.Volume] = item
	}
	return found
}

// wantBackedUp checks that exactly these volumes, as POD/VOLUME, are taken, and returns their CRs.
func wantBackedUp(t *testing.T, backup string, volumes ...string) map[string]resticv1.PodVolumeBackup {
	t.Helper()
	found := podVolumeBackups(t, backup)
	for _, volume := range volumes {
		status := found[volume].Status
		if status.Phase != resticv1.PhaseCompleted || len(status.SnapshotID) != 64 {
			t.Errorf("backup %s: PodVolumeBackup of %s is %q with snapshot %q (%s), want Completed with one",
				backup, volume, status.Phase, status.SnapshotID, status.Message)
		}
	}
	if len(found) != len(volumes) {
		t.Errorf("backup %s has %d PodVolumeBackups, want %d: %v", backup, len(found), len(volumes), volumes)
	}
	return found
}

// deleteBackup is `velero backup delete`, and its end.
func deleteBackup(t *testing.T, name string) {
	t.Helper()
	start := time.Now()
	veleroCLI(t, "backup", "delete", name, "--confirm")
	eventually(t, time.Minute, "end of backup "+name+" being deleted", func() error {
		if err := checkGone(t, "-n", velero.Namespace, "backups.velero.io", name); err != nil {
			return err
		}
		return checkGone(t, "-n", velero.Namespace, "podvolumebackups.restic.velero.io", "-l", "velero.io/backup-name="+name)
	})
	t.Logf("backup %s and its snapshots deleted in %.1f s", name, time.Since(start).Seconds())
}
