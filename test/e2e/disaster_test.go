// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"context"
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
	"sigs.k8s.io/yaml"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/node"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
	"github.com/velero-restic/velero-plugin-for-restic/test/fixture"
	"github.com/velero-restic/velero-plugin-for-restic/test/install"
)

// disaster is the name of the bucket, of the namespace and of the storage class of this test.
const disaster = "disaster"

// site is a cluster of one test's own.
type site struct {
	t    *testing.T
	node *node.Node
}

// bucketFolder is where the shared cluster's gateway keeps the bucket of this test.
func bucketFolder() string { return filepath.Join(filepath.Dir(suite.store.Folder), disaster) }

// newSite starts a cluster with Velero on it, on a bucket that outlives it: the shared cluster's gateway serves it.
func newSite(t *testing.T, name string) *site {
	t.Helper()
	n, err := node.New(name, suite.node.Cache(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, node: n}
	s.destroy() // what a run that was killed has left
	t.Cleanup(s.destroy)
	if err := n.Up(t.Context(), node.Options{StoreFrom: suite.node.Name()}); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(bucketFolder(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := velero.Install(t.Context(), n, velero.Options{Bucket: disaster}, t.Output()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) destroy() {
	s.t.Helper()
	// It is a clean-up too, and the test's context has ended by then.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), commandLimit)
	defer cancel()
	if err := s.node.Down(ctx); err != nil {
		s.t.Error("taking the cluster down:", err)
	}
}

func (s *site) kubectl(args ...string) string {
	s.t.Helper()
	out, err := s.node.Kubectl(s.t.Context(), args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *site) velero(args ...string) string {
	s.t.Helper()
	out, err := s.node.Velero(s.t.Context(), args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return colour.ReplaceAllString(out, "")
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

// install puts the project on the cluster.
func (s *site) install() {
	s.t.Helper()
	images := filepath.Join(suite.repository, install.Images)
	version, err := install.Version(images)
	if err != nil {
		s.t.Fatal(err)
	}
	options := install.Options{Repository: suite.repository, Images: images, Version: version}
	if err := install.Install(s.t.Context(), s.node, options, s.t.Output()); err != nil {
		s.t.Fatal(err)
	}
}

// password is the copy of it that a user keeps.
func (s *site) password() string {
	s.t.Helper()
	var secret corev1.Secret
	out := s.kubectl("-n", velero.Namespace, "get", "secret", contract.PasswordSecret, "-o", "json")
	if err := json.Unmarshal([]byte(out), &secret); err != nil {
		s.t.Fatal(err)
	}
	return string(secret.Data[contract.PasswordSecretKey])
}

func (s *site) keepPassword(password string) {
	s.t.Helper()
	s.kubectl("-n", velero.Namespace, "create", "secret", "generic", contract.PasswordSecret,
		"--from-literal="+contract.PasswordSecretKey+"="+password)
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

func (s *site) apply(objects ...any) {
	s.t.Helper()
	for _, object := range objects {
		manifest, err := yaml.Marshal(object)
		if err != nil {
			s.t.Fatal(err)
		}
		if err := s.node.Apply(s.t.Context(), manifest); err != nil {
			s.t.Fatal(err)
		}
	}
}

// TestDisaster loses a whole cluster. What is left is the bucket, and the copy of the password that the documentation
// asks for; a new cluster, installed from the documentation, knows nothing else.
func TestDisaster(t *testing.T) {
	needsNode(t)
	t.Parallel()
	first := newSite(t, "disaster-a")
	first.install()
	password := first.password()
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

	second := newSite(t, "disaster-b")
	second.keepPassword(password)
	second.install()
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
	second.velero("restore", "create", "again", "--from-backup", "last")
	second.await("restores", "again")
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
