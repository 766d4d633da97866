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
func (s *scene) repository() resticv1.ResticRepository {
	s.t.Helper()
	return get[resticv1.ResticRepository](s.t, "-n", velero.Namespace, "resticrepositories.restic.velero.io",
		contract.RepositoryName(s.namespace, "default"))
}

// patchRepository changes the spec, as docs/maintenance.md says.
func (s *scene) patchRepository(spec string) {
	s.t.Helper()
	kubectl(s.t, "-n", velero.Namespace, "patch", "resticrepositories.restic.velero.io",
		contract.RepositoryName(s.namespace, "default"), "--type=merge", "-p", `{"spec":`+spec+`}`)
}

// waitMaintained waits until the operation that was asked for by the word has ended, and returns its entry.
func (s *scene) waitMaintained(operation resticv1.MaintenanceOperation, word string) resticv1.Maintenance {
	s.t.Helper()
	return s.waitMaintainedWithin(operation, word, maintenanceLimit)
}

func (s *scene) waitMaintainedWithin(
	operation resticv1.MaintenanceOperation, word string, limit time.Duration,
) resticv1.Maintenance {
	s.t.Helper()
	var found resticv1.Maintenance
	eventually(s.t, limit, string(operation)+" by "+word, func() error {
		status := s.repository().Status
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

func (s *scene) condition(kind string) metav1.Condition {
	s.t.Helper()
	if found := meta.FindStatusCondition(s.repository().Status.Conditions, kind); found != nil {
		return *found
	}
	return metav1.Condition{}
}

// repositoryEvents are the reasons and messages of the repository's Events.
func (s *scene) repositoryEvents() string {
	s.t.Helper()
	return kubectl(s.t, "-n", velero.Namespace, "get", "events", "--field-selector",
		"involvedObject.name="+contract.RepositoryName(s.namespace, "default"),
		"-o", `jsonpath={range .items[*]}{.reason}{": "}{.message}{"\n"}{end}`)
}

// takeFiles backs up a pod with an emptyDir that holds so many bytes.
func (s *scene) takeFiles(backup string, bytes int) {
	s.t.Helper()
	apply(s.t, s.pod("web", "cache", emptyDir("cache")))
	s.waitReady("web")
	s.shell("web", fmt.Sprintf("head -c %d /dev/urandom > /cache/file", bytes))
	wantComplete(s.t, backUp(s.t, backup, "--include-namespaces="+s.namespace))
}

func TestMaintenance(t *testing.T) {
	needsNode(t)
	t.Parallel()
	s := newScene(t, "maintained", 0)
	s.takeFiles("maintained-1", 30_000_000)
	s.shell("web", "echo small > /cache/file")
	wantComplete(t, backUp(t, "maintained-2", "--include-namespaces=maintained"))
	deleteBackup(t, "maintained-1")
	full := repositorySize(t, s.namespace)

	s.patchRepository(`{"requests":{"prune":"first"}}`)
	if pruned := s.waitMaintained(resticv1.OperationPrune, "first"); pruned.Result != resticv1.MaintenanceSucceeded ||
		!strings.Contains(pruned.Message, "freed 28.") {
		t.Errorf("the prune ended with %+v", pruned)
	}
	if left := repositorySize(t, s.namespace); left > full-28_000_000 {
		t.Errorf("of %d bytes %d are left", full, left)
	}

	s.patchRepository(`{"checkParts":2,"checkFrequency":"10s"}`)
	eventually(t, maintenanceLimit, "both parts of the data read", func() error {
		parts := map[int32]bool{}
		for _, entry := range s.repository().Status.Maintenance {
			if entry.Operation == resticv1.OperationCheck && entry.Result == resticv1.MaintenanceSucceeded {
				parts[entry.Part] = true
			}
		}
		if !parts[1] || !parts[2] {
			return fmt.Errorf("read are %v", parts)
		}
		return nil
	})
	if intact := s.condition(resticv1.ConditionIntact); intact.Status != metav1.ConditionTrue {
		t.Errorf("the repository counts as %+v", intact)
	}
	s.patchRepository(`{"checkFrequency":"0s"}`)
	t.Run("damage is found and told", func(t *testing.T) { findDamage(t, s) })
}

func findDamage(t *testing.T, s *scene) {
	folder := filepath.Join(suite.store.Folder, "restic", s.namespace, "data")
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
	s.patchRepository(`{"requests":{"check":"damaged"}}`)
	if found := s.waitMaintained(resticv1.OperationCheck, "damaged"); found.Result != resticv1.MaintenanceFailed {
		t.Errorf("the check ended with %+v", found)
	}
	intact := s.condition(resticv1.ConditionIntact)
	if intact.Status != metav1.ConditionFalse || intact.Reason != resticv1.ReasonDamaged {
		t.Errorf("the repository counts as %+v", intact)
	}
	wants(t, "the condition", intact.Message, "damaged", "docs/maintenance.md")
	wants(t, "the Events", s.repositoryEvents(), resticv1.ReasonMaintenanceStarted, resticv1.ReasonMaintained,
		resticv1.ReasonDamaged)
	metrics := leaderMetrics(t)
	wants(t, "the metrics", metrics, `velero_restic_repository_intact{repository="`+
		contract.RepositoryName(s.namespace, "default")+`",storage_location="default",volume_namespace="maintained"} 0`,
		`velero_restic_maintenance_total{operation="check",result="failed"}`)
}

// leaderMetrics reads what all agents count.
func leaderMetrics(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	pods := get[corev1.PodList](t, "-n", velero.Namespace, "pods", "-l", "name=restic")
	for i := range pods.Items {
		all.WriteString(kubectl(t, "get", "--raw", fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:8085/proxy/metrics",
			velero.Namespace, pods.Items[i].Name)))
	}
	return all.String()
}

// holder is a restic that a person, or another cluster, runs on the repository: its host is none of this cluster's.
type holder struct {
	stdin io.Closer
	cmd   *exec.Cmd
}

// hold takes the repository's shared lock until release.
func (s *scene) hold() *holder {
	s.t.Helper()
	program := os.Getenv("RESTIC_BINARY")
	if program == "" {
		program = filepath.Join(suite.repository, "bin", "restic")
	}
	cmd := exec.CommandContext(s.t.Context(), program, "--no-cache", "backup", "--stdin", "--quiet", "--tag=foreign")
	cmd.Env = []string{
		"RESTIC_REPOSITORY=s3:" + suite.store.Endpoint + "/" + suite.store.Bucket + "/restic/" + s.namespace,
		"RESTIC_PASSWORD=" + password(s.t), "AWS_SHARED_CREDENTIALS_FILE=" + suite.store.Credentials,
		"AWS_DEFAULT_REGION=" + suite.store.Region,
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	h := &holder{stdin: stdin, cmd: cmd}
	eventually(s.t, time.Minute, "the lock of another restic", func() error {
		if count := s.lockCount(); count == 0 {
			return fmt.Errorf("there is none")
		}
		return nil
	})
	return h
}

// release ends the holder, which removes its lock; having read nothing it makes no snapshot.
func (h *holder) release(t *testing.T) {
	t.Helper()
	if err := h.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = h.stdin.Close() // it is on its way out
	_ = h.cmd.Wait()    // interrupted
}

func (s *scene) lockCount() int {
	s.t.Helper()
	entries, err := os.ReadDir(filepath.Join(suite.store.Folder, "restic", s.namespace, "locks"))
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
	s := newScene(t, "foreign-lock", 0)
	s.takeFiles("foreign-lock", 1000)
	other := s.hold()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	s.patchRepository(`{"requests":{"prune":"beside-a-lock","unlock":"please"}}`)
	eventually(t, 3*time.Minute, "the prune waiting for the holder", func() error {
		status := s.repository().Status
		unlocked := s.condition(resticv1.ConditionUnlocked)
		if unlocked.Status != metav1.ConditionFalse || !strings.Contains(unlocked.Message, host) ||
			len(status.Locks) == 0 || status.Locks[0].Abandoned {
			return fmt.Errorf("the status is %+v", status)
		}
		return nil
	})
	if s.lockCount() == 0 {
		t.Fatal("the lock of a living holder was removed")
	}
	// Its lock is shared: backups go on beside it.
	wantComplete(t, backUp(t, "foreign-lock-2", "--include-namespaces=foreign-lock"))
	other.release(t)
	if pruned := s.waitMaintained(resticv1.OperationPrune, "beside-a-lock"); pruned.Result != resticv1.MaintenanceSucceeded {
		t.Errorf("the prune ended with %+v", pruned)
	}
	eventually(t, maintenanceLimit, "the repository unlocked", func() error {
		if unlocked := s.condition(resticv1.ConditionUnlocked); unlocked.Status != metav1.ConditionTrue {
			return fmt.Errorf("it is %+v", unlocked)
		}
		return nil
	})
}

// TestBackupWaitsForMaintenance begins a backup while a Job has the repository for itself.
func TestBackupWaitsForMaintenance(t *testing.T) {
	needsNode(t)
	t.Parallel()
	s := newScene(t, "beside-prune", 0)
	s.takeFiles("beside-prune", 1000)
	other := s.hold() // the Job waits for it with --retry-lock
	s.patchRepository(`{"requests":{"prune":"long"}}`)
	eventually(t, maintenanceLimit, "the Job at work", func() error {
		for _, entry := range s.repository().Status.Maintenance {
			if entry.Result == resticv1.MaintenanceRunning && entry.Message == "" {
				return nil
			}
		}
		return fmt.Errorf("the status is %+v", s.repository().Status)
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
	wantComplete(t, awaitBackup(t, "beside-prune-2", 3*time.Minute))
	if got := podVolumeBackups(t, "beside-prune-2")["web/cache"].Status; got.Attempts != 1 || got.Agent == "" {
		t.Errorf("the status is %+v", got)
	}
}

// freeze stops the processes of an agent's pod, so that they leave everything as it is when they are killed.
func freeze(t *testing.T, pod string) {
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
	s := newScene(t, "abandoned", 0)
	apply(t, s.pod("web", "cache", emptyDir("cache")))
	s.waitReady("web")
	s.shell("web", "echo one > /cache/file")
	wantComplete(t, backUp(t, "abandoned-1", "--include-namespaces=abandoned"))
	s.shell("web", "head -c 700000000 /dev/urandom > /cache/file")
	veleroCLI(t, "backup", "create", "abandoned-2", "--include-namespaces=abandoned")
	eventually(t, time.Minute, "restic reading", func() error {
		status := podVolumeBackups(t, "abandoned-2")["web/cache"].Status
		if status.Phase != resticv1.PhaseInProgress || status.Progress.BytesDone == 0 {
			return fmt.Errorf("the PodVolumeBackup is %q, %d bytes done", status.Phase, status.Progress.BytesDone)
		}
		return nil
	})
	dead := podVolumeBackups(t, "abandoned-2")["web/cache"]
	freeze(t, dead.Status.Agent)
	// Nobody takes the backup up again: only its lock is left of it.
	kubectl(t, "-n", s.namespace, "delete", "pod", "web", "--grace-period=0", "--force")
	kubectl(t, "-n", velero.Namespace, "delete", "pod", "-l", "name=restic", "--grace-period=0", "--force")
	waitAgents(t)
	awaitBackup(t, "abandoned-2", 3*time.Minute)
	if s.lockCount() == 0 {
		t.Fatal("no lock was left: nothing is tried here")
	}
	s.patchRepository(`{"requests":{"prune":"after-the-kill"}}`)
	if pruned := s.waitMaintainedWithin(resticv1.OperationPrune, "after-the-kill", 4*time.Minute); pruned.Result !=
		resticv1.MaintenanceSucceeded {
		t.Errorf("the prune ended with %+v", pruned)
	}
	unlocked := false
	for _, entry := range s.repository().Status.Maintenance {
		unlocked = unlocked || (entry.Operation == resticv1.OperationUnlock && entry.Host == dead.Status.Agent &&
			entry.Result == resticv1.MaintenanceSucceeded)
	}
	if !unlocked {
		status, _ := json.Marshal(s.repository().Status)
		t.Errorf("no Job has removed the lock of %s: %s", dead.Status.Agent, status)
	}
}
