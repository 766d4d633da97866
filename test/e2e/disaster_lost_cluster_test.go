// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/node"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
	"github.com/velero-restic/velero-plugin-for-restic/test/fixture"
	"github.com/velero-restic/velero-plugin-for-restic/test/page"
)

// disasterName is the name of the bucket, of the namespace and of the storage class of this test.
const disasterName = "disaster"

// bucketFolder is where the shared cluster's gateway keeps the bucket of this test.
func bucketFolder() string { return filepath.Join(filepath.Dir(suite.store.Folder), disasterName) }

// startDisasterCluster starts one on a bucket that outlives it: the shared cluster's gateway serves it.
func startDisasterCluster(t *testing.T, name string) *extraCluster {
	t.Helper()
	if err := os.MkdirAll(bucketFolder(), 0o755); err != nil {
		t.Fatal(err)
	}
	return startExtraCluster(t, name, node.Options{StoreFrom: suite.node.Name()}, velero.Options{Bucket: disasterName})
}

// waitCompleted waits until one of Velero's objects has ended, and wants it Completed without errors.
func (c *extraCluster) waitCompleted(resource, name string) {
	c.t.Helper()
	var status struct {
		Status struct {
			Phase    string `json:"phase"`
			Errors   int    `json:"errors"`
			Warnings int    `json:"warnings"`
		} `json:"status"`
	}
	eventually(c.t, operationLimit, "end of "+resource+" "+name, func() error {
		out := c.kubectl("-n", velero.Namespace, "get", resource+".velero.io", name, "-o", "json")
		if err := json.Unmarshal([]byte(out), &status); err != nil {
			return err
		}
		switch phase := status.Status.Phase; phase {
		case string(velerov1.BackupPhaseCompleted), string(velerov1.BackupPhasePartiallyFailed),
			string(velerov1.BackupPhaseFailed), string(velerov1.BackupPhaseFailedValidation):
			return nil
		default:
			return fmt.Errorf("its phase is %q", phase)
		}
	})
	if status.Status.Phase != string(velerov1.BackupPhaseCompleted) || status.Status.Errors > 0 {
		c.t.Errorf("%s %s: %+v, want it Completed without errors", resource, name, status.Status)
	}
}

func (c *extraCluster) runFixture(pod string, args ...string) string {
	c.t.Helper()
	c.kubectl("-n", disasterName, "-c", "main", "cp", suite.fixture, pod+":"+fixtureInPod)
	exec := []string{"-n", disasterName, "-c", "main", "exec", pod, "--", fixtureInPod}
	return c.kubectl(append(exec, args...)...)
}

func (c *extraCluster) recordVolume(pod, path string) []fixture.Entry {
	c.t.Helper()
	file := filepath.Join(c.t.TempDir(), "manifest")
	if err := os.WriteFile(file, []byte(c.runFixture(pod, "record", path)), 0o600); err != nil {
		c.t.Fatal(err)
	}
	entries, err := fixture.Load(file)
	if err != nil {
		c.t.Fatal(err)
	}
	return entries
}

// createStorage gives the cluster a class with one volume, as a user's has one already.
func (c *extraCluster) createStorage() {
	c.t.Helper()
	c.apply(localStorageClass(disasterName), localVolume(c.t, c.node, disasterName, disasterName))
}

func (c *extraCluster) workload() []any {
	in := &testNamespace{t: c.t, name: disasterName, storageClass: disasterName}
	return []any{
		&corev1.Namespace{TypeMeta: typeMeta("v1", "Namespace"), ObjectMeta: metav1.ObjectMeta{Name: disasterName}},
		in.claim("data"), in.pod("web", "data,cache", claimVolume("data"), emptyDir("cache")),
	}
}

// TestRestoreAfterLosingCluster loses a whole cluster. What is left is the bucket, and the copy of the password that the documentation
// asks for. A new cluster is built and restored by the commands of the documentation alone, and knows nothing else.
func TestRestoreAfterLosingCluster(t *testing.T) {
	needsNode(t)
	t.Parallel()
	first := startDisasterCluster(t, "before")
	firstDesk := newWorkspace(t, first.node)
	if err := firstDesk.Install(t.Context(), t.Output()); err != nil {
		t.Fatal(err)
	}
	first.createStorage()
	first.apply(first.workload()...)
	first.kubectl("-n", disasterName, "wait", "pod/web", "--for=condition=Ready", "--timeout=90s")
	paths := []string{"/data", "/cache"}
	before := map[string][]fixture.Entry{}
	for _, path := range paths {
		first.runFixture("web", "create", path, "--small")
		before[path] = first.recordVolume("web", path)
	}
	first.velero("backup", "create", "last", "--include-namespaces", disasterName)
	first.waitCompleted("backups", "last")
	first.remove()

	second := startDisasterCluster(t, "after")
	another := page.OtherCluster{Workspace: newWorkspace(t, second.node), Out: t.Output()}
	if err := another.Install(t.Context(), firstDesk); err != nil {
		t.Fatal(err)
	}
	second.createStorage()
	eventually(t, backupSyncLimit, "backup of the cluster that is lost", func() error {
		out := second.kubectl("-n", velero.Namespace, "get", "backups.velero.io", "-o", "name")
		if !strings.Contains(out, "/last") {
			return fmt.Errorf("the backups are %q", out)
		}
		return nil
	})
	if out := second.kubectl("-n", velero.Namespace, "get", customResources, "-o", "name"); out != "" {
		t.Errorf("the new cluster has %q before it has restored anything", out)
	}
	if err := another.Restore(t.Context(), "last"); err != nil {
		t.Fatal(err)
	}
	second.waitCompleted("restores", strings.TrimSpace(second.kubectl("-n", velero.Namespace, "get", "restores.velero.io",
		"-o", "jsonpath={.items[*].metadata.name}")))
	second.kubectl("-n", disasterName, "wait", "pod/web", "--for=condition=Ready", "--timeout=90s")
	for _, path := range paths {
		eventually(t, time.Minute, contract.MarkerDir+" removed from "+path, func() error {
			names := second.kubectl("-n", disasterName, "exec", "web", "-c", "main", "--", "ls", "-A", path)
			if strings.Contains(names, contract.MarkerDir) {
				return fmt.Errorf("it is there: %q", names)
			}
			return nil
		})
		wantSameFiles(t, path, before[path], second.recordVolume("web", path))
	}
	checkDeletionFromOtherCluster(second)
}

// checkDeletionFromOtherCluster deletes the backup from the cluster that never took it.
func checkDeletionFromOtherCluster(c *extraCluster) {
	c.t.Helper()
	snapshots := filepath.Join(bucketFolder(), "restic", disasterName, "snapshots")
	count := func() int {
		files, err := os.ReadDir(snapshots)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // the gateway has no empty folders
			c.t.Fatal(err)
		}
		return len(files)
	}
	if got := count(); got != 2 {
		c.t.Errorf("the bucket has %d snapshots before the backup is deleted, want those of two volumes", got)
	}
	c.velero("backup", "delete", "last", "--confirm")
	eventually(c.t, operationLimit, "snapshots forgotten", func() error {
		if got := count(); got != 0 {
			return fmt.Errorf("there are %d", got)
		}
		return nil
	})
}

// backupSyncLimit is how long Velero may take to find backups of others in the bucket: it looks once a minute.
const backupSyncLimit = 150 * time.Second
