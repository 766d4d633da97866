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
	stopLimit = 10 * time.Second
	cancelNow = `{"spec":{"cancel":true}}`
)

// endless makes a volume that takes restic many minutes to read, and no room on the node.
func (s *scene) endless() {
	s.t.Helper()
	apply(s.t, s.pod("web", "cache", emptyDir("cache")))
	s.waitReady("web")
	s.shell("web", "truncate -s 1024G /cache/endless")
}

// reading waits until restic reads the volume, and returns the object.
func reading(t *testing.T, backup string) resticv1.PodVolumeBackup {
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

// wantNothingLeft looks for a lock or a snapshot of a backup that was stopped.
func (s *scene) wantNothingLeft() {
	s.t.Helper()
	if locks := locksOf(s.t, s.namespace); len(locks) > 0 {
		s.t.Errorf("locks are left: %v", locks)
	}
	wantSnapshots(s.t, s.namespace)
}

// TestCancelBackup stops a backup by its object, while restic reads.
func TestCancelBackup(t *testing.T) {
	needsNode(t)
	t.Parallel()
	s := newScene(t, "cancel", 0)
	s.endless()
	veleroCLI(t, "backup", "create", "cancel", "--include-namespaces=cancel")
	name := reading(t, "cancel").Name
	if locks := locksOf(t, s.namespace); len(locks) == 0 {
		t.Error("restic reads without a lock: nothing can be released")
	}
	kubectl(t, "-n", velero.Namespace, "patch", "podvolumebackups.restic.velero.io", name, "--type=merge", "-p", cancelNow)
	eventually(t, stopLimit, "end of restic", func() error {
		if got := podVolumeBackups(t, "cancel")["web/cache"].Status; got.Phase != resticv1.PhaseCanceled {
			return fmt.Errorf("it is %q", got.Phase)
		}
		return nil
	})
	s.wantNothingLeft()
	wants(t, "the PodVolumeBackup", podVolumeBackups(t, "cancel")["web/cache"].Status.Message, "canceled on request")
	backup := awaitBackup(t, "cancel", operationLimit)
	if backup.Status.Phase != velerov1.BackupPhasePartiallyFailed {
		t.Errorf("the backup is %s, want PartiallyFailed", backup.Status.Phase)
	}
	wants(t, "velero backup describe --details", veleroCLI(t, "backup", "describe", "cancel", "--details"),
		"pod cancel/web", "cache: Canceled", "canceled on request")
	wants(t, "kubectl get events", kubectl(t, "-n", s.namespace, "get", "events"), "Canceled", "canceled on request")
	deleteBackup(t, "cancel")
}

// TestBackupDeadline has Velero's time for operations run out while restic reads.
func TestBackupDeadline(t *testing.T) {
	needsNode(t)
	t.Parallel()
	s := newScene(t, "overdue", 0)
	s.endless()
	veleroCLI(t, "backup", "create", "overdue", "--include-namespaces=overdue", "--item-operation-timeout=40s")
	reading(t, "overdue")
	backup := awaitBackup(t, "overdue", operationLimit)
	if backup.Status.Phase != velerov1.BackupPhasePartiallyFailed {
		t.Errorf("the backup is %s, want PartiallyFailed", backup.Status.Phase)
	}
	eventually(t, stopLimit, "end of restic", func() error {
		if got := podVolumeBackups(t, "overdue")["web/cache"].Status; got.Phase != resticv1.PhaseCanceled {
			return fmt.Errorf("it is %q", got.Phase)
		}
		return nil
	})
	s.wantNothingLeft()
	status := podVolumeBackups(t, "overdue")["web/cache"].Status
	t.Logf("the PodVolumeBackup says %q", status.Message)
	if status.Message == "" {
		t.Error("the PodVolumeBackup does not say why")
	}
	wants(t, "velero backup describe --details", veleroCLI(t, "backup", "describe", "overdue", "--details"),
		"pod overdue/web")
	wants(t, "kubectl get events", kubectl(t, "-n", s.namespace, "get", "events"), "Canceled", status.Message)
}

// TestCancelRestore stops a restore while restic writes: the pod must not start with half of its data.
func TestCancelRestore(t *testing.T) {
	needsNode(t)
	t.Parallel()
	s := newScene(t, "unrestored", 0)
	apply(t, s.pod("web", "cache", emptyDir("cache")))
	s.waitReady("web")
	s.shell("web", "truncate -s 2G /cache/large")
	wantComplete(t, backUp(t, "unrestored", "--include-namespaces=unrestored"))
	s.deleteNamespace()

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
		cancelNow)
	eventually(t, stopLimit, "end of restic", func() error {
		if got := podVolumeRestores(t, "unrestored")["web/cache"].Status; got.Phase != resticv1.PhaseCanceled {
			return fmt.Errorf("it is %q", got.Phase)
		}
		return nil
	})
	if locks := locksOf(t, s.namespace); len(locks) > 0 {
		t.Errorf("locks are left: %v", locks)
	}
	eventually(t, 30*time.Second, "end of the init container with the reason", func() error {
		pod, err := tryGet[corev1.Pod](t, "-n", s.namespace, "pod", "web")
		if err != nil {
			return err
		}
		for _, status := range pod.Status.InitContainerStatuses {
			for _, state := range []corev1.ContainerState{status.State, status.LastTerminationState} {
				if status.Name == contract.RestoreContainer && state.Terminated != nil {
					wants(t, "the init container", state.Terminated.Message, "Canceled: canceled on request")
					if state.Terminated.ExitCode == 0 {
						t.Error("the init container ended well")
					}
					return nil
				}
			}
		}
		return fmt.Errorf("it is %+v", pod.Status.InitContainerStatuses)
	})
	result := awaitRestore(t, "unrestored")
	if result.Status.Phase != velerov1.RestorePhasePartiallyFailed {
		t.Errorf("the restore is %s, want PartiallyFailed", result.Status.Phase)
	}
	wants(t, "velero restore describe --details", veleroCLI(t, "restore", "describe", "unrestored", "--details"),
		"pod unrestored/web", "cache: Canceled", "canceled on request")
	kubectl(t, "-n", s.namespace, "delete", "pod", "web", "--timeout=60s")
}
