// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// lockHolder is a restic that a person or another cluster runs: its host name is that of no pod of this cluster.
type lockHolder struct {
	stdin io.Closer
	cmd   *exec.Cmd
}

// holdLock holds a shared lock of the repository until release.
func (ns *testNamespace) holdLock() *lockHolder {
	ns.t.Helper()
	cmd, _ := resticCommand(ns.t, repositoryPath(ns.t, ns.name), password(ns.t),
		"--no-cache", "backup", "--stdin", "--quiet", "--tag=foreign")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		ns.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		ns.t.Fatal(err)
	}
	h := &lockHolder{stdin: stdin, cmd: cmd}
	eventually(ns.t, time.Minute, "lock of another restic", func() error {
		if len(lockFiles(ns.t, ns.name)) == 0 {
			return errors.New("there is no lock")
		}
		return nil
	})
	return h
}

// release interrupts restic, which removes its lock. It has read nothing, and creates no snapshot.
func (h *lockHolder) release(t *testing.T) {
	t.Helper()
	if err := h.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = h.stdin.Close() // restic is ending
	_ = h.cmd.Wait()    // it was interrupted
}

// TestForeignLock holds a lock with a restic outside the cluster. Nothing removes the lock. A prune waits, names the
// holder, and continues by itself.
func TestForeignLock(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	ns := newNamespace(t, "foreign-lock", 0)
	ns.backUpRandomFile("foreign-lock", 1000)
	other := ns.holdLock()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	ns.patchRepository(`{"requests":{"prune":"beside-a-lock","unlock":"please"}}`)
	eventually(t, 3*time.Minute, "the prune waits for the holder", func() error {
		status := ns.repository().Status
		unlocked := ns.condition(resticv1.ConditionUnlocked)
		if unlocked.Status != metav1.ConditionFalse || !strings.Contains(unlocked.Message, host) ||
			len(status.Locks) == 0 || status.Locks[0].Abandoned {
			return fmt.Errorf("the status is %+v", status)
		}
		return nil
	})
	if len(lockFiles(t, ns.name)) == 0 {
		t.Fatal("the lock was removed, but its holder runs")
	}
	// The lock is shared, so backups can run beside it.
	wantCompleted(t, backUp(t, "foreign-lock-2", "--include-namespaces=foreign-lock"))
	other.release(t)
	ns.wantMaintained(resticv1.OperationPrune, "beside-a-lock")
	eventually(t, maintenanceLimit, "the repository is unlocked", func() error {
		if unlocked := ns.condition(resticv1.ConditionUnlocked); unlocked.Status != metav1.ConditionTrue {
			return fmt.Errorf("the condition is %+v", unlocked)
		}
		return nil
	})
}

// TestBackupWaitsForMaintenance starts a backup while a Job needs the repository exclusively.
func TestBackupWaitsForMaintenance(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	ns := newNamespace(t, "beside-prune", 0)
	ns.backUpRandomFile("beside-prune", 1000)
	other := ns.holdLock() // the Job waits for the lock as long as --retry-lock says
	ns.patchRepository(`{"requests":{"prune":"long"}}`)
	eventually(t, maintenanceLimit, "the Job runs", func() error {
		for _, entry := range ns.repository().Status.Maintenance {
			if entry.Result == resticv1.MaintenanceRunning && entry.Message == "" {
				return nil
			}
		}
		return fmt.Errorf("the status is %+v", ns.repository().Status)
	})
	veleroCLI(t, "backup", "create", "beside-prune-2", "--include-namespaces=beside-prune")
	eventually(t, time.Minute, "the backup waits", func() error {
		status := podVolumeBackups(t, "beside-prune-2")["web/cache"].Status
		if status.Phase.Final() {
			t.Fatalf("the backup did not wait: %+v", status)
		}
		if !strings.Contains(status.Message, "restic-prune-") {
			return fmt.Errorf("its message is %q", status.Message)
		}
		return nil
	})
	other.release(t)
	wantCompleted(t, waitBackup(t, "beside-prune-2", 3*time.Minute))
	if got := podVolumeBackups(t, "beside-prune-2")["web/cache"].Status; got.Attempts != 1 || got.Agent == "" {
		t.Errorf("the status is %+v, want one attempt of an agent", got)
	}
}

// freezeAgent stops the processes of an agent's pod, so that they cannot clean up before they are killed.
func freezeAgent(t *testing.T, pod string) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	agent := 0
	parents := map[int]int{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		environ, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "environ"))
		if strings.Contains("\x00"+string(environ), "\x00POD_NAME="+pod+"\x00") {
			agent = pid
		}
		stat, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "stat"))
		if _, rest, found := strings.Cut(string(stat), ") "); found {
			if fields := strings.Fields(rest); len(fields) > 1 {
				parents[pid], _ = strconv.Atoi(fields[1])
			}
		}
	}
	if agent == 0 {
		t.Fatalf("there is no process of pod %s", pod)
	}
	if err := syscall.Kill(agent, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for child, parent := range parents {
		if parent == agent {
			_ = syscall.Kill(child, syscall.SIGSTOP) // it may have ended in the meantime
		}
	}
}

// TestAbandonedLock kills an agent that holds a lock. A prune removes the lock, since the pod of the holder is gone.
func TestAbandonedLock(t *testing.T) {
	needsNode(t)
	reserveCluster(t)
	ns := newNamespace(t, "abandoned", 0)
	file := filepath.Join(ns.createSlowPod(), "file")
	writeRandomFile(t, file, 1000)
	wantCompleted(t, backUp(t, "abandoned-1", "--include-namespaces=abandoned"))
	writeRandomFile(t, file, 100_000_000)
	veleroCLI(t, "backup", "create", "abandoned-2", "--include-namespaces=abandoned")
	killed := waitReading(t, "abandoned-2", "web/data")
	freezeAgent(t, killed.Status.Agent)
	// Without the pod, no agent starts the backup again: only the lock remains.
	kubectl(t, "-n", ns.name, "delete", "pod", "web", "--grace-period=0", "--force")
	kubectl(t, "-n", velero.Namespace, "delete", "pod", "-l", "name=restic", "--grace-period=0", "--force")
	waitAgents(t)
	waitBackup(t, "abandoned-2", 3*time.Minute)
	if len(lockFiles(t, ns.name)) == 0 {
		t.Fatal("no lock remains: the test cannot show that it is removed")
	}
	ns.patchRepository(`{"requests":{"prune":"after-the-kill"}}`)
	ns.wantMaintained(resticv1.OperationPrune, "after-the-kill")
	unlocked := false
	for _, entry := range ns.repository().Status.Maintenance {
		unlocked = unlocked || (entry.Operation == resticv1.OperationUnlock && entry.Host == killed.Status.Agent &&
			entry.Result == resticv1.MaintenanceSucceeded)
	}
	if !unlocked {
		status, _ := json.Marshal(ns.repository().Status)
		t.Errorf("no Job has removed the lock of %s: %s", killed.Status.Agent, status)
	}
}
