// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

const (
	// stopLimit is how soon restic is stopped: what the agent promises.
	stopLimit   = 10 * time.Second
	cancelPatch = `{"spec":{"cancel":true}}`
)

// createEndlessFile makes a volume that takes restic many minutes to read, and no room on the node.
func (ns *testNamespace) createEndlessFile() {
	ns.t.Helper()
	apply(ns.t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", "truncate -s 1024G /cache/endless")
}

// waitReading waits until restic reads the volume, and returns the object.
func waitReading(t *testing.T, backup string) resticv1.PodVolumeBackup {
	t.Helper()
	var object resticv1.PodVolumeBackup
	eventually(t, time.Minute, "restic reading", func() error {
		object = podVolumeBackups(t, backup)["web/cache"]
		if object.Status.Phase != resticv1.PhaseInProgress || object.Status.Progress.BytesDone == 0 {
			return fmt.Errorf("it is %q: %+v", object.Status.Phase, object.Status.Progress)
		}
		return nil
	})
	return object
}

// wantNoLockOrSnapshot looks for a lock or a snapshot of a backup that was stopped.
func (ns *testNamespace) wantNoLockOrSnapshot() {
	ns.t.Helper()
	if locks := lockFiles(ns.t, ns.name); len(locks) > 0 {
		ns.t.Errorf("locks are left: %v", locks)
	}
	wantSnapshots(ns.t, ns.name)
}

// TestCancelBackup stops a backup by its object, while restic reads.
func TestCancelBackup(t *testing.T) {
	needsNode(t)
	t.Parallel()
	ns := newNamespace(t, "cancel", 0)
	ns.createEndlessFile()
	veleroCLI(t, "backup", "create", "cancel", "--include-namespaces=cancel")
	name := waitReading(t, "cancel").Name
	if locks := lockFiles(t, ns.name); len(locks) == 0 {
		t.Error("restic reads without a lock: nothing can be released")
	}
	kubectl(t, "-n", velero.Namespace, "patch", "podvolumebackups.restic.velero.io", name, "--type=merge", "-p", cancelPatch)
	eventually(t, stopLimit, "end of restic", func() error {
		if got := podVolumeBackups(t, "cancel")["web/cache"].Status; got.Phase != resticv1.PhaseCanceled {
			return fmt.Errorf("it is %q", got.Phase)
		}
		return nil
	})
	ns.wantNoLockOrSnapshot()
	wantContains(t, "the PodVolumeBackup", podVolumeBackups(t, "cancel")["web/cache"].Status.Message, "canceled on request")
	backup := waitBackup(t, "cancel", operationLimit)
	if backup.Status.Phase != velerov1.BackupPhasePartiallyFailed {
		t.Errorf("the backup is %s, want PartiallyFailed", backup.Status.Phase)
	}
	wantContains(t, "velero backup describe --details", veleroCLI(t, "backup", "describe", "cancel", "--details"),
		"pod cancel/web", "cache: Canceled", "canceled on request")
	wantContains(t, "kubectl get events", kubectl(t, "-n", ns.name, "get", "events"), "Canceled", "canceled on request")
	deleteBackup(t, "cancel")
}

// TestBackupDeadline has Velero's time for operations run out while restic reads.
func TestBackupDeadline(t *testing.T) {
	needsNode(t)
	t.Parallel()
	ns := newNamespace(t, "overdue", 0)
	ns.createEndlessFile()
	veleroCLI(t, "backup", "create", "overdue", "--include-namespaces=overdue", "--item-operation-timeout=40s")
	waitReading(t, "overdue")
	backup := waitBackup(t, "overdue", operationLimit)
	if backup.Status.Phase != velerov1.BackupPhasePartiallyFailed {
		t.Errorf("the backup is %s, want PartiallyFailed", backup.Status.Phase)
	}
	eventually(t, stopLimit, "end of restic", func() error {
		if got := podVolumeBackups(t, "overdue")["web/cache"].Status; got.Phase != resticv1.PhaseCanceled {
			return fmt.Errorf("it is %q", got.Phase)
		}
		return nil
	})
	ns.wantNoLockOrSnapshot()
	status := podVolumeBackups(t, "overdue")["web/cache"].Status
	t.Logf("the PodVolumeBackup says %q", status.Message)
	if status.Message == "" {
		t.Error("the PodVolumeBackup does not say why")
	}
	wantContains(t, "velero backup describe --details", veleroCLI(t, "backup", "describe", "overdue", "--details"),
		"pod overdue/web")
	wantContains(t, "kubectl get events", kubectl(t, "-n", ns.name, "get", "events"), "Canceled", status.Message)
}

// TestCancelRestore stops a restore while restic writes: the pod must not start with half of its data.
func TestCancelRestore(t *testing.T) {
	needsNode(t)
	t.Parallel()
	ns := newNamespace(t, "unrestored", 0)
	apply(t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", "truncate -s 2G /cache/large")
	wantCompleted(t, backUp(t, "unrestored", "--include-namespaces=unrestored"))
	ns.delete()

	veleroCLI(t, "restore", "create", "unrestored", "--from-backup=unrestored")
	var object resticv1.PodVolumeRestore
	eventually(t, time.Minute, "restic writing", func() error {
		object = podVolumeRestores(t, "unrestored")["web/cache"]
		if object.Status.Phase != resticv1.PhaseInProgress {
			return fmt.Errorf("it is %q", object.Status.Phase)
		}
		return nil
	})
	kubectl(t, "-n", velero.Namespace, "patch", "podvolumerestores.restic.velero.io", object.Name, "--type=merge", "-p",
		cancelPatch)
	eventually(t, stopLimit, "end of restic", func() error {
		if got := podVolumeRestores(t, "unrestored")["web/cache"].Status; got.Phase != resticv1.PhaseCanceled {
			return fmt.Errorf("it is %q", got.Phase)
		}
		return nil
	})
	if locks := lockFiles(t, ns.name); len(locks) > 0 {
		t.Errorf("locks are left: %v", locks)
	}
	eventually(t, 30*time.Second, "end of the init container with the reason", func() error {
		pod, err := tryGet[corev1.Pod](t, "-n", ns.name, "pod", "web")
		if err != nil {
			return err
		}
		for _, status := range pod.Status.InitContainerStatuses {
			for _, state := range []corev1.ContainerState{status.State, status.LastTerminationState} {
				if status.Name == contract.RestoreContainer && state.Terminated != nil {
					wantContains(t, "the init container", state.Terminated.Message, "Canceled: canceled on request")
					if state.Terminated.ExitCode == 0 {
						t.Error("the init container ended well")
					}
					return nil
				}
			}
		}
		return fmt.Errorf("it is %+v", pod.Status.InitContainerStatuses)
	})
	result := waitRestore(t, "unrestored")
	if result.Status.Phase != velerov1.RestorePhasePartiallyFailed {
		t.Errorf("the restore is %s, want PartiallyFailed", result.Status.Phase)
	}
	wantContains(t, "velero restore describe --details", veleroCLI(t, "restore", "describe", "unrestored", "--details"),
		"pod unrestored/web", "cache: Canceled", "canceled on request")
	kubectl(t, "-n", ns.name, "delete", "pod", "web", "--timeout=60s")
}
