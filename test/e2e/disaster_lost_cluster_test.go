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

// disaster is the name of the bucket, of the namespace and of the storage class of this test.
const disaster = "disaster"

// bucketFolder is where the shared cluster's gateway keeps the bucket of this test.
func bucketFolder() string { return filepath.Join(filepath.Dir(suite.store.Folder), disaster) }

// newDisasterSite starts one on a bucket that outlives it: the shared cluster's gateway serves it.
func newDisasterSite(t *testing.T, name string) *site {
	t.Helper()
	if err := os.MkdirAll(bucketFolder(), 0o755); err != nil {
		t.Fatal(err)
	}
	return newSite(t, name, node.Options{StoreFrom: suite.node.Name()}, velero.Options{Bucket: disaster})
}

// await waits until one of Velero's objects has ended, and wants it Completed without errors.
func (s *site) await(resource, name string) {
	s.t.Helper()
	var status struct {
		Status struct {
			Phase    string `json:"phase"`
			Errors   int    `json:"errors"`
			Warnings int    `json:"warnings"`
		} `json:"status"`
	}
	eventually(s.t, operationLimit, "end of "+resource+" "+name, func() error {
		out := s.kubectl("-n", velero.Namespace, "get", resource+".velero.io", name, "-o", "json")
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
		s.t.Errorf("%s %s: %+v, want it Completed without errors", resource, name, status.Status)
	}
}

func (s *site) fixture(pod string, args ...string) string {
	s.t.Helper()
	s.kubectl("-n", disaster, "-c", "main", "cp", suite.fixture, pod+":"+fixtureInPod)
	exec := []string{"-n", disaster, "-c", "main", "exec", pod, "--", fixtureInPod}
	return s.kubectl(append(exec, args...)...)
}

func (s *site) record(pod, path string) []fixture.Entry {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "manifest")
	if err := os.WriteFile(file, []byte(s.fixture(pod, "record", path)), 0o600); err != nil {
		s.t.Fatal(err)
	}
	entries, err := fixture.Load(file)
	if err != nil {
		s.t.Fatal(err)
	}
	return entries
}

// makeStorage gives the cluster a class with one volume, as a user's has one already.
func (s *site) makeStorage() {
	s.t.Helper()
	s.apply(localClass(disaster), localVolume(s.t, s.node, disaster, disaster))
}

func (s *site) workload() []any {
	in := &scene{t: s.t, namespace: disaster, class: disaster}
	return []any{
		&corev1.Namespace{TypeMeta: kind("v1", "Namespace"), ObjectMeta: metav1.ObjectMeta{Name: disaster}},
		in.claim("data"), in.pod("web", "data,cache", claimed("data"), emptyDir("cache")),
	}
}

// TestRestoreAfterLosingCluster loses a whole cluster. What is left is the bucket, and the copy of the password that the documentation
// asks for. A new cluster is built and restored by the commands of the documentation alone, and knows nothing else.
func TestRestoreAfterLosingCluster(t *testing.T) {
	needsNode(t)
	t.Parallel()
	first := newDisasterSite(t, "before")
	firstDesk := newDesk(t, first.node)
	if err := firstDesk.Install(t.Context(), t.Output()); err != nil {
		t.Fatal(err)
	}
	first.makeStorage()
	first.apply(first.workload()...)
	first.kubectl("-n", disaster, "wait", "pod/web", "--for=condition=Ready", "--timeout=90s")
	paths := []string{"/data", "/cache"}
	before := map[string][]fixture.Entry{}
	for _, path := range paths {
		first.fixture("web", "create", path, "--small")
		before[path] = first.record("web", path)
	}
	first.velero("backup", "create", "last", "--include-namespaces", disaster)
	first.await("backups", "last")
	first.destroy()

	second := newDisasterSite(t, "after")
	another := page.Another{Desk: newDesk(t, second.node), Out: t.Output()}
	if err := another.Install(t.Context(), firstDesk); err != nil {
		t.Fatal(err)
	}
	second.makeStorage()
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
	second.await("restores", strings.TrimSpace(second.kubectl("-n", velero.Namespace, "get", "restores.velero.io",
		"-o", "jsonpath={.items[*].metadata.name}")))
	second.kubectl("-n", disaster, "wait", "pod/web", "--for=condition=Ready", "--timeout=90s")
	for _, path := range paths {
		eventually(t, time.Minute, contract.MarkerDir+" removed from "+path, func() error {
			names := second.kubectl("-n", disaster, "exec", "web", "-c", "main", "--", "ls", "-A", path)
			if strings.Contains(names, contract.MarkerDir) {
				return fmt.Errorf("it is there: %q", names)
			}
			return nil
		})
		same(t, path, before[path], second.record("web", path))
	}
	checkDeletedElsewhere(second)
}

// checkDeletedElsewhere deletes the backup from the cluster that never took it.
func checkDeletedElsewhere(s *site) {
	s.t.Helper()
	snapshots := filepath.Join(bucketFolder(), "restic", disaster, "snapshots")
	count := func() int {
		files, err := os.ReadDir(snapshots)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // the gateway has no empty folders
			s.t.Fatal(err)
		}
		return len(files)
	}
	if got := count(); got != 2 {
		s.t.Errorf("the bucket has %d snapshots before the backup is deleted, want those of two volumes", got)
	}
	s.velero("backup", "delete", "last", "--confirm")
	eventually(s.t, operationLimit, "snapshots forgotten", func() error {
		if got := count(); got != 0 {
			return fmt.Errorf("there are %d", got)
		}
		return nil
	})
}

// backupSyncLimit is how long Velero may take to find backups of others in the bucket: it looks once a minute.
const backupSyncLimit = 150 * time.Second
