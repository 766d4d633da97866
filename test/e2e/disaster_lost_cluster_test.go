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

const (
	// disasterName is the name of this test's bucket, namespace and storage class.
	disasterName = "disaster"
	// disasterSyncPeriod is how often Velero looks for backups of other clusters in the bucket.
	disasterSyncPeriod = 5 * time.Second
)

// disasterBucket is the directory in which the shared cluster's gateway keeps the bucket of this test.
func disasterBucket(t *testing.T) string {
	t.Helper()
	return filepath.Join(filepath.Dir(clusterOf(t).store.Folder), disasterName)
}

// startDisasterCluster starts a cluster with a bucket that outlives it, since the shared cluster's gateway serves it.
func startDisasterCluster(t *testing.T, name string) *extraCluster {
	t.Helper()
	if err := os.MkdirAll(disasterBucket(t), 0o755); err != nil {
		t.Fatal(err)
	}
	return startExtraCluster(t, name, node.Options{StoreFrom: clusterOf(t).node.Name()},
		velero.Options{Bucket: disasterName, BackupSyncPeriod: disasterSyncPeriod})
}

// waitCompleted waits until a Backup or Restore has ended, and wants it Completed without errors.
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

// createStorage gives the cluster a storage class with one volume, as a user's cluster has.
func (c *extraCluster) createStorage() {
	c.t.Helper()
	c.apply(localStorageClass(disasterName), localVolume(c.t, c.node, disasterName, disasterName))
}

func (c *extraCluster) waitPodReady() {
	c.t.Helper()
	c.kubectl("-n", disasterName, "wait", "pod/web", "--for=condition=Ready", "--timeout=90s")
}

func disasterWorkload(t *testing.T) []any {
	t.Helper()
	ns := &testNamespace{t: t, name: disasterName, storageClass: disasterName}
	return []any{
		&corev1.Namespace{TypeMeta: typeMeta("v1", "Namespace"), ObjectMeta: metav1.ObjectMeta{Name: disasterName}},
		ns.claim("data"), ns.pod("web", "data,cache", claimVolume("data"), emptyDir("cache")),
	}
}

// TestRestoreAfterLosingCluster loses a whole cluster. What remains is the bucket, and the copy of the password that
// the documentation asks for. The commands of the documentation alone install a new cluster and restore into it.
func TestRestoreAfterLosingCluster(t *testing.T) {
	useExtraClusters(t)
	first := startDisasterCluster(t, "before")
	firstWorkspace := newWorkspace(t, first.node)
	if err := firstWorkspace.Install(t.Context(), t.Output()); err != nil {
		t.Fatal(err)
	}
	first.createStorage()
	first.apply(disasterWorkload(t)...)
	first.waitPodReady()
	paths := []string{"/data", "/cache"}
	before := map[string][]fixture.Entry{}
	for _, path := range paths {
		first.runFixture(disasterName, "web", "create", path, "--small")
		before[path] = first.recordVolume(disasterName, "web", path)
	}
	first.velero("backup", "create", "last", "--include-namespaces", disasterName)
	first.waitCompleted("backups", "last")
	first.remove()

	second := startDisasterCluster(t, "after")
	another := page.OtherCluster{Workspace: newWorkspace(t, second.node), Out: t.Output()}
	if err := another.Install(t.Context(), firstWorkspace); err != nil {
		t.Fatal(err)
	}
	second.createStorage()
	eventually(t, operationLimit, "backup of the lost cluster", func() error {
		out := second.kubectl("-n", velero.Namespace, "get", "backups.velero.io", "-o", "name")
		if !strings.Contains(out, "/last") {
			return fmt.Errorf("the backups are %q", out)
		}
		return nil
	})
	if out := second.kubectl("-n", velero.Namespace, "get", customResources, "-o", "name"); out != "" {
		t.Errorf("the new cluster has %q before the restore, want no object of this project", out)
	}
	if err := another.Restore(t.Context(), "last"); err != nil {
		t.Fatal(err)
	}
	name := second.kubectl("-n", velero.Namespace, "get", "restores.velero.io",
		"-o", "jsonpath={.items[*].metadata.name}")
	second.waitCompleted("restores", strings.TrimSpace(name))
	second.waitPodReady()
	for _, path := range paths {
		eventually(t, time.Minute, contract.MarkerDir+" removed from "+path, func() error {
			names := second.kubectl("-n", disasterName, "exec", "web", "-c", "main", "--", "ls", "-A", path)
			if strings.Contains(names, contract.MarkerDir) {
				return fmt.Errorf("the files are %q", names)
			}
			return nil
		})
		wantSameFiles(t, path, before[path], second.recordVolume(disasterName, "web", path))
	}
	checkDeletionFromOtherCluster(second)
}

// checkDeletionFromOtherCluster deletes the backup in a cluster that did not create it.
func checkDeletionFromOtherCluster(c *extraCluster) {
	c.t.Helper()
	snapshots := filepath.Join(disasterBucket(c.t), "restic", disasterName, "snapshots")
	count := func() int {
		files, err := os.ReadDir(snapshots)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // the gateway removes a directory with its last file
			c.t.Fatal(err)
		}
		return len(files)
	}
	if got := count(); got != 2 {
		c.t.Errorf("the bucket has %d snapshots before the backup is deleted, want one of each volume", got)
	}
	c.velero("backup", "delete", "last", "--confirm")
	eventually(c.t, operationLimit, "snapshots forgotten", func() error {
		if got := count(); got != 0 {
			return fmt.Errorf("there are %d", got)
		}
		return nil
	})
}
