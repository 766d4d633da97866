// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

const (
	// stopLimit is how soon the agent stops restic, as docs/spec.md promises.
	stopLimit   = 10 * time.Second
	cancelPatch = `{"spec":{"cancel":true}}`
)

// createEndlessFile creates a volume that restic reads for hours, and that takes no space on the node.
func (ns *testNamespace) createEndlessFile() {
	ns.t.Helper()
	file, err := os.Create(filepath.Join(ns.createSlowPod(), "endless"))
	if err != nil {
		ns.t.Fatal(err)
	}
	if err := errors.Join(file.Truncate(64<<30), file.Close()); err != nil {
		ns.t.Fatal(err)
	}
}

// wantNoLockOrSnapshot wants neither in the repository after a backup was stopped.
func (ns *testNamespace) wantNoLockOrSnapshot() {
	ns.t.Helper()
	if locks := lockFiles(ns.t, ns.name); len(locks) > 0 {
		ns.t.Errorf("locks remain: %v", locks)
	}
	wantSnapshots(ns.t, ns.name)
}

// waitCanceled waits until the PodVolumeBackup is Canceled.
func waitCanceled(t *testing.T, backup string) resticv1.PodVolumeBackupStatus {
	t.Helper()
	var status resticv1.PodVolumeBackupStatus
	eventually(t, stopLimit, "end of restic", func() error {
		if status = podVolumeBackups(t, backup)["web/data"].Status; status.Phase != resticv1.PhaseCanceled {
			return fmt.Errorf("its phase is %q", status.Phase)
		}
		return nil
	})
	return status
}

// TestCancelBackup cancels a PodVolumeBackup while restic reads.
func TestCancelBackup(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	ns := newNamespace(t, "cancel", 0)
	ns.createEndlessFile()
	veleroCLI(t, "backup", "create", "cancel", "--include-namespaces=cancel")
	name := waitReading(t, "cancel", "web/data").Name
	if locks := lockFiles(t, ns.name); len(locks) == 0 {
		t.Error("restic reads without a lock: the test cannot show that the lock is removed")
	}
	kubectl(t, "-n", velero.Namespace, "patch", "podvolumebackups.restic.velero.io", name, "--type=merge", "-p", cancelPatch)
	status := waitCanceled(t, "cancel")
	ns.wantNoLockOrSnapshot()
	wantContains(t, "the PodVolumeBackup", status.Message, "canceled on request")
	wantPhase(t, waitBackup(t, "cancel", operationLimit), velerov1.BackupPhasePartiallyFailed)
	wantContains(t, "velero backup describe --details", veleroCLI(t, "backup", "describe", "cancel", "--details"),
		"pod cancel/web", "data: Canceled", "canceled on request")
	wantContains(t, "kubectl get events", kubectl(t, "-n", ns.name, "get", "events"), "Canceled", "canceled on request")
	deleteBackup(t, "cancel")
}

// TestBackupDeadline reaches Velero's timeout for operations while restic reads.
func TestBackupDeadline(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	ns := newNamespace(t, "overdue", 0)
	ns.createEndlessFile()
	veleroCLI(t, "backup", "create", "overdue", "--include-namespaces=overdue", "--item-operation-timeout=30s")
	waitReading(t, "overdue", "web/data")
	wantPhase(t, waitBackup(t, "overdue", operationLimit), velerov1.BackupPhasePartiallyFailed)
	status := waitCanceled(t, "overdue")
	ns.wantNoLockOrSnapshot()
	t.Logf("the message of the PodVolumeBackup is %q", status.Message)
	if status.Message == "" {
		t.Error("the PodVolumeBackup has no message")
	}
	wantContains(t, "velero backup describe --details", veleroCLI(t, "backup", "describe", "overdue", "--details"),
		"pod overdue/web")
	wantContains(t, "kubectl get events", kubectl(t, "-n", ns.name, "get", "events"), "Canceled", status.Message)
}

// TestCancelRestore cancels a restore while restic writes: the pod must not start with a part of its data.
func TestCancelRestore(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	ns := newNamespace(t, "unrestored", 0)
	apply(t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", "truncate -s 2G /cache/large")
	wantCompleted(t, backUp(t, "unrestored", "--include-namespaces=unrestored"))
	ns.delete()

	veleroCLI(t, "restore", "create", "unrestored", "--from-backup=unrestored")
	var object resticv1.PodVolumeRestore
	eventually(t, time.Minute, "restic writes", func() error {
		object = podVolumeRestores(t, "unrestored")["web/cache"]
		if object.Status.Phase != resticv1.PhaseInProgress {
			return fmt.Errorf("its phase is %q", object.Status.Phase)
		}
		return nil
	})
	kubectl(t, "-n", velero.Namespace, "patch", "podvolumerestores.restic.velero.io", object.Name, "--type=merge", "-p",
		cancelPatch)
	eventually(t, stopLimit, "end of restic", func() error {
		if got := podVolumeRestores(t, "unrestored")["web/cache"].Status; got.Phase != resticv1.PhaseCanceled {
			return fmt.Errorf("its phase is %q", got.Phase)
		}
		return nil
	})
	if locks := lockFiles(t, ns.name); len(locks) > 0 {
		t.Errorf("locks remain: %v", locks)
	}
	eventually(t, 30*time.Second, "end of the init container with the reason", func() error {
		pod, err := tryGet[corev1.Pod](t, ns.name, "web")
		if err != nil {
			return err
		}
		for _, status := range pod.Status.InitContainerStatuses {
			for _, state := range []corev1.ContainerState{status.State, status.LastTerminationState} {
				if status.Name == contract.RestoreContainer && state.Terminated != nil {
					wantContains(t, "the init container", state.Terminated.Message, "Canceled: canceled on request")
					if state.Terminated.ExitCode == 0 {
						t.Error("the init container ended with exit code 0")
					}
					return nil
				}
			}
		}
		return fmt.Errorf("the init containers are %+v", pod.Status.InitContainerStatuses)
	})
	result := waitRestore(t, "unrestored")
	if result.Status.Phase != velerov1.RestorePhasePartiallyFailed {
		t.Errorf("the restore is %s, want PartiallyFailed", result.Status.Phase)
	}
	wantContains(t, "velero restore describe --details", veleroCLI(t, "restore", "describe", "unrestored", "--details"),
		"pod unrestored/web", "cache: Canceled", "canceled on request")
	kubectl(t, "-n", ns.name, "delete", "pod", "web", "--timeout=60s")
}
