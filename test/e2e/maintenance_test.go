// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// maintenanceLimit is how long a Job may take from its request to its entry in the status. Those of other tests come
// first: one runs at a time.
const maintenanceLimit = 3 * time.Minute

// repository is the ResticRepository of the scene's namespace.
func (ns *testNamespace) repository() resticv1.ResticRepository {
	ns.t.Helper()
	return get[resticv1.ResticRepository](ns.t, "-n", velero.Namespace, "resticrepositories.restic.velero.io",
		contract.RepositoryName(ns.name, "default"))
}

// patchRepository changes the spec, as docs/maintenance.md says.
func (ns *testNamespace) patchRepository(spec string) {
	ns.t.Helper()
	kubectl(ns.t, "-n", velero.Namespace, "patch", "resticrepositories.restic.velero.io",
		contract.RepositoryName(ns.name, "default"), "--type=merge", "-p", `{"spec":`+spec+`}`)
}

// waitMaintenance waits until the operation that was asked for by the word has ended, and returns its entry.
func (ns *testNamespace) waitMaintenance(operation resticv1.MaintenanceOperation, word string) resticv1.Maintenance {
	ns.t.Helper()
	return ns.waitMaintenanceWithin(operation, word, maintenanceLimit)
}

func (ns *testNamespace) waitMaintenanceWithin(
	operation resticv1.MaintenanceOperation, word string, limit time.Duration,
) resticv1.Maintenance {
	ns.t.Helper()
	var found resticv1.Maintenance
	eventually(ns.t, limit, string(operation)+" by "+word, func() error {
		status := ns.repository().Status
		for _, entry := range status.Maintenance {
			if entry.Operation == operation && entry.Request == word &&
				(entry.Result == resticv1.MaintenanceSucceeded || entry.Result == resticv1.MaintenanceFailed) {
				found = entry
				return nil
			}
		}
		return fmt.Errorf("the status is %+v", status)
	})
	return found
}

func (ns *testNamespace) condition(kind string) metav1.Condition {
	ns.t.Helper()
	if found := meta.FindStatusCondition(ns.repository().Status.Conditions, kind); found != nil {
		return *found
	}
	return metav1.Condition{}
}

// repositoryEvents are the reasons and messages of the repository's Events.
func (ns *testNamespace) repositoryEvents() string {
	ns.t.Helper()
	return kubectl(ns.t, "-n", velero.Namespace, "get", "events", "--field-selector",
		"involvedObject.name="+contract.RepositoryName(ns.name, "default"),
		"-o", `jsonpath={range .items[*]}{.reason}{": "}{.message}{"\n"}{end}`)
}

// backUpRandomFile backs up a pod with an emptyDir that holds so many bytes.
func (ns *testNamespace) backUpRandomFile(backup string, bytes int) {
	ns.t.Helper()
	apply(ns.t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", fmt.Sprintf("head -c %d /dev/urandom > /cache/file", bytes))
	wantCompleted(ns.t, backUp(ns.t, backup, "--include-namespaces="+ns.name))
}

func TestMaintenance(t *testing.T) {
	needsNode(t)
	t.Parallel()
	ns := newNamespace(t, "maintained", 0)
	ns.backUpRandomFile("maintained-1", 30_000_000)
	ns.shell("web", "echo small > /cache/file")
	wantCompleted(t, backUp(t, "maintained-2", "--include-namespaces=maintained"))
	deleteBackup(t, "maintained-1")
	full := repositorySize(t, ns.name)

	ns.patchRepository(`{"requests":{"prune":"first"}}`)
	if pruned := ns.waitMaintenance(resticv1.OperationPrune, "first"); pruned.Result != resticv1.MaintenanceSucceeded ||
		!strings.Contains(pruned.Message, "freed 28.") {
		t.Errorf("the prune ended with %+v", pruned)
	}
	if left := repositorySize(t, ns.name); left > full-28_000_000 {
		t.Errorf("of %d bytes %d are left", full, left)
	}

	ns.patchRepository(`{"checkParts":2,"checkFrequency":"10s"}`)
	eventually(t, maintenanceLimit, "both parts of the data read", func() error {
		parts := map[int32]bool{}
		for _, entry := range ns.repository().Status.Maintenance {
			if entry.Operation == resticv1.OperationCheck && entry.Result == resticv1.MaintenanceSucceeded {
				parts[entry.Part] = true
			}
		}
		if !parts[1] || !parts[2] {
			return fmt.Errorf("read are %v", parts)
		}
		return nil
	})
	if intact := ns.condition(resticv1.ConditionIntact); intact.Status != metav1.ConditionTrue {
		t.Errorf("the repository counts as %+v", intact)
	}
	ns.patchRepository(`{"checkFrequency":"0s"}`)
	t.Run("damage is found and told", func(t *testing.T) { checkDamage(t, ns) })
}

func checkDamage(t *testing.T, ns *testNamespace) {
	folder := filepath.Join(suite.store.Folder, "restic", ns.name, "data")
	removed := 0
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		removed++
		return os.Remove(path)
	})
	if err != nil || removed == 0 {
		t.Fatalf("%d packs removed: %v", removed, err)
	}
	ns.patchRepository(`{"requests":{"check":"damaged"}}`)
	if found := ns.waitMaintenance(resticv1.OperationCheck, "damaged"); found.Result != resticv1.MaintenanceFailed {
		t.Errorf("the check ended with %+v", found)
	}
	intact := ns.condition(resticv1.ConditionIntact)
	if intact.Status != metav1.ConditionFalse || intact.Reason != resticv1.ReasonDamaged {
		t.Errorf("the repository counts as %+v", intact)
	}
	wantContains(t, "the condition", intact.Message, "damaged", "docs/maintenance.md")
	wantContains(t, "the Events", ns.repositoryEvents(), resticv1.ReasonMaintenanceStarted, resticv1.ReasonMaintained,
		resticv1.ReasonDamaged)
	metrics := agentMetrics(t)
	wantContains(t, "the metrics", metrics, `velero_restic_repository_intact{repository="`+
		contract.RepositoryName(ns.name, "default")+`",storage_location="default",volume_namespace="maintained"} 0`,
		`velero_restic_maintenance_total{operation="check",result="failed"}`)
}

// agentMetrics reads what all agents count.
func agentMetrics(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	pods := get[corev1.PodList](t, "-n", velero.Namespace, "pods", "-l", "name=restic")
	for i := range pods.Items {
		all.WriteString(kubectl(t, "get", "--raw", fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:8085/proxy/metrics",
			velero.Namespace, pods.Items[i].Name)))
	}
	return all.String()
}

// lockHolder is a restic that a person, or another cluster, runs on the repository: its host is none of this cluster's.
type lockHolder struct {
	stdin io.Closer
	cmd   *exec.Cmd
}

// holdLock takes the repository's shared lock until release.
func (ns *testNamespace) holdLock() *lockHolder {
	ns.t.Helper()
	program := os.Getenv("RESTIC_BINARY")
	if program == "" {
		program = filepath.Join(suite.repository, "bin", "restic")
	}
	cmd := exec.CommandContext(ns.t.Context(), program, "--no-cache", "backup", "--stdin", "--quiet", "--tag=foreign")
	cmd.Env = []string{
		"RESTIC_REPOSITORY=s3:" + suite.store.Endpoint + "/" + suite.store.Bucket + "/restic/" + ns.name,
		"RESTIC_PASSWORD=" + password(ns.t), "AWS_SHARED_CREDENTIALS_FILE=" + suite.store.Credentials,
		"AWS_DEFAULT_REGION=" + suite.store.Region,
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		ns.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		ns.t.Fatal(err)
	}
	h := &lockHolder{stdin: stdin, cmd: cmd}
	eventually(ns.t, time.Minute, "the lock of another restic", func() error {
		if count := ns.lockCount(); count == 0 {
			return fmt.Errorf("there is none")
		}
		return nil
	})
	return h
}

// release ends the holder, which removes its lock; having read nothing it makes no snapshot.
func (h *lockHolder) release(t *testing.T) {
	t.Helper()
	if err := h.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = h.stdin.Close() // it is on its way out
	_ = h.cmd.Wait()    // interrupted
}

func (ns *testNamespace) lockCount() int {
	ns.t.Helper()
	entries, err := os.ReadDir(filepath.Join(suite.store.Folder, "restic", ns.name, "locks"))
	if err != nil {
		return 0 // the gateway removes a folder with its last file
	}
	count := 0
	for _, entry := range entries {
		if entry.Type().IsRegular() {
			count++
		}
	}
	return count
}

// TestForeignLock has a restic that is none of the cluster's hold a lock. Nothing removes it, what it keeps out waits
// and says for whom, and goes on by itself.
func TestForeignLock(t *testing.T) {
	needsNode(t)
	t.Parallel()
	ns := newNamespace(t, "foreign-lock", 0)
	ns.backUpRandomFile("foreign-lock", 1000)
	other := ns.holdLock()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	ns.patchRepository(`{"requests":{"prune":"beside-a-lock","unlock":"please"}}`)
	eventually(t, 3*time.Minute, "the prune waiting for the holder", func() error {
		status := ns.repository().Status
		unlocked := ns.condition(resticv1.ConditionUnlocked)
		if unlocked.Status != metav1.ConditionFalse || !strings.Contains(unlocked.Message, host) ||
			len(status.Locks) == 0 || status.Locks[0].Abandoned {
			return fmt.Errorf("the status is %+v", status)
		}
		return nil
	})
	if ns.lockCount() == 0 {
		t.Fatal("the lock of a living holder was removed")
	}
	// Its lock is shared: backups go on beside it.
	wantCompleted(t, backUp(t, "foreign-lock-2", "--include-namespaces=foreign-lock"))
	other.release(t)
	if pruned := ns.waitMaintenance(resticv1.OperationPrune, "beside-a-lock"); pruned.Result != resticv1.MaintenanceSucceeded {
		t.Errorf("the prune ended with %+v", pruned)
	}
	eventually(t, maintenanceLimit, "the repository unlocked", func() error {
		if unlocked := ns.condition(resticv1.ConditionUnlocked); unlocked.Status != metav1.ConditionTrue {
			return fmt.Errorf("it is %+v", unlocked)
		}
		return nil
	})
}

// TestBackupWaitsForMaintenance begins a backup while a Job has the repository for itself.
func TestBackupWaitsForMaintenance(t *testing.T) {
	needsNode(t)
	t.Parallel()
	ns := newNamespace(t, "beside-prune", 0)
	ns.backUpRandomFile("beside-prune", 1000)
	other := ns.holdLock() // the Job waits for it with --retry-lock
	ns.patchRepository(`{"requests":{"prune":"long"}}`)
	eventually(t, maintenanceLimit, "the Job at work", func() error {
		for _, entry := range ns.repository().Status.Maintenance {
			if entry.Result == resticv1.MaintenanceRunning && entry.Message == "" {
				return nil
			}
		}
		return fmt.Errorf("the status is %+v", ns.repository().Status)
	})
	veleroCLI(t, "backup", "create", "beside-prune-2", "--include-namespaces=beside-prune")
	eventually(t, time.Minute, "the backup waiting", func() error {
		status := podVolumeBackups(t, "beside-prune-2")["web/cache"].Status
		if status.Phase.Final() {
			t.Fatalf("it did not wait: %+v", status)
		}
		if !strings.Contains(status.Message, "restic-prune-") {
			return fmt.Errorf("it says %q", status.Message)
		}
		return nil
	})
	other.release(t)
	wantCompleted(t, waitBackup(t, "beside-prune-2", 3*time.Minute))
	if got := podVolumeBackups(t, "beside-prune-2")["web/cache"].Status; got.Attempts != 1 || got.Agent == "" {
		t.Errorf("the status is %+v", got)
	}
}

// freezeAgent stops the processes of an agent's pod, so that they leave everything as it is when they are killed.
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
			_ = syscall.Kill(child, syscall.SIGSTOP) // it may have ended meanwhile
		}
	}
}

// TestAbandonedLock leaves the lock of an agent that was killed, and its pod with it. What it keeps out goes on, for
// its holder is provably gone.
func TestAbandonedLock(t *testing.T) {
	needsNode(t)
	ns := newNamespace(t, "abandoned", 0)
	apply(t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", "echo one > /cache/file")
	wantCompleted(t, backUp(t, "abandoned-1", "--include-namespaces=abandoned"))
	ns.shell("web", "head -c 700000000 /dev/urandom > /cache/file")
	veleroCLI(t, "backup", "create", "abandoned-2", "--include-namespaces=abandoned")
	eventually(t, time.Minute, "restic reading", func() error {
		status := podVolumeBackups(t, "abandoned-2")["web/cache"].Status
		if status.Phase != resticv1.PhaseInProgress || status.Progress.BytesDone == 0 {
			return fmt.Errorf("the PodVolumeBackup is %q, %d bytes done", status.Phase, status.Progress.BytesDone)
		}
		return nil
	})
	dead := podVolumeBackups(t, "abandoned-2")["web/cache"]
	freezeAgent(t, dead.Status.Agent)
	// Nobody takes the backup up again: only its lock is left of it.
	kubectl(t, "-n", ns.name, "delete", "pod", "web", "--grace-period=0", "--force")
	kubectl(t, "-n", velero.Namespace, "delete", "pod", "-l", "name=restic", "--grace-period=0", "--force")
	waitAgents(t)
	waitBackup(t, "abandoned-2", 3*time.Minute)
	if ns.lockCount() == 0 {
		t.Fatal("no lock was left: nothing is tried here")
	}
	ns.patchRepository(`{"requests":{"prune":"after-the-kill"}}`)
	if pruned := ns.waitMaintenanceWithin(resticv1.OperationPrune, "after-the-kill", 4*time.Minute); pruned.Result !=
		resticv1.MaintenanceSucceeded {
		t.Errorf("the prune ended with %+v", pruned)
	}
	unlocked := false
	for _, entry := range ns.repository().Status.Maintenance {
		unlocked = unlocked || (entry.Operation == resticv1.OperationUnlock && entry.Host == dead.Status.Agent &&
			entry.Result == resticv1.MaintenanceSucceeded)
	}
	if !unlocked {
		status, _ := json.Marshal(ns.repository().Status)
		t.Errorf("no Job has removed the lock of %s: %s", dead.Status.Agent, status)
	}
}
