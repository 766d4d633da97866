// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ksets "k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/velero-restic/velero-plugin-for-restic/agent/hostpath"
	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/restictest"
)

const (
	veleroNamespace = "velero"
	locationName    = "default"
	staticPassword  = "static-passw0rd"
)

// shop is the repository of all tests.
func shop() transfer.Repository {
	return transfer.Repository{Location: locationName, Namespace: "shop"}
}

// site is a node with a kubelet's directory of pods, a cluster with a storage location whose repositories are in a
// folder, and a Mover with the real restic.
type site struct {
	*transfer.Mover

	t       *testing.T
	cluster client.Client
	// bucket is the folder with the repositories.
	bucket string
	scratch,
	pods string
}

func newSite(t *testing.T) *site {
	t.Helper()
	return newSiteWith(t, restictest.Sandboxed(t))
}

func newSiteWith(t *testing.T, runner restic.Runner) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{
		t: t, bucket: filepath.Join(dir, "bucket"), scratch: filepath.Join(dir, "scratch"), pods: filepath.Join(dir, "pods"),
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), velerov1.AddToScheme(scheme), os.Mkdir(s.pods, 0o700), os.Mkdir(s.bucket, 0o700)); err != nil {
		t.Fatal(err)
	}
	s.cluster = fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		passwordSecret(contract.PasswordSecret, "correct horse"),
		&velerov1.BackupStorageLocation{
			ObjectMeta: metav1.ObjectMeta{Namespace: veleroNamespace, Name: locationName},
			Spec: velerov1.BackupStorageLocationSpec{
				Provider: "example.com/folder", Config: map[string]string{"resticRepoPrefix": s.bucket},
			},
		}).Build()
	s.Mover = &transfer.Mover{
		Opener: &session.Opener{
			Reader: s.cluster, Namespace: veleroNamespace, Runner: runner, ScratchDir: s.scratch, RetryLock: time.Second,
		},
		Finder: hostpath.Finder{Root: s.pods}, Clock: clock.RealClock{},
	}
	t.Cleanup(s.wantNoSecrets)
	return s
}

// wantNoSecrets makes sure that no piece of work has left its private files.
func (s *site) wantNoSecrets() {
	left, err := os.ReadDir(filepath.Join(s.scratch, "session"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Error(err)
	}
	for _, entry := range left {
		s.t.Errorf("session %s is left", entry.Name())
	}
}

func passwordSecret(name, password string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: veleroNamespace, Name: name},
		Data:       map[string][]byte{contract.PasswordSecretKey: []byte(password)},
	}
}

// setPassword replaces the password in the cluster.
func (s *site) setPassword(password string) {
	s.t.Helper()
	if err := s.cluster.Update(s.t.Context(), passwordSecret(contract.PasswordSecret, password)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) setReadOnly() {
	s.t.Helper()
	location := &velerov1.BackupStorageLocation{}
	if err := s.cluster.Get(s.t.Context(), client.ObjectKey{Namespace: veleroNamespace, Name: locationName},
		location); err != nil {
		s.t.Fatal(err)
	}
	location.Spec.AccessMode = velerov1.BackupStorageLocationAccessModeReadOnly
	if err := s.cluster.Update(s.t.Context(), location); err != nil {
		s.t.Fatal(err)
	}
}

// volume makes an emptyDir of a new pod, with the files by path, and returns it with its directory.
func (s *site) volume(uid string, files map[string]string) (hostpath.Volume, string) {
	s.t.Helper()
	dir := filepath.Join(s.pods, uid, "volumes", "kubernetes.io~empty-dir", "data")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	for name, content := range files {
		s.write(filepath.Join(dir, name), content)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-" + uid, UID: types.UID(uid)},
		Spec: corev1.PodSpec{Volumes: []corev1.Volume{{
			Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
		}}},
	}
	return hostpath.Volume{Pod: pod, Name: "data"}, dir
}

func (s *site) write(path, content string) {
	s.t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600)); err != nil {
		s.t.Fatal(err)
	}
}

// probe makes the repository.
func (s *site) probe() transfer.ProbeOutcome {
	s.t.Helper()
	outcome, err := s.Probe(s.t.Context(), transfer.ProbeRequest{Repository: shop()}, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return outcome
}

func sets(items []string) ksets.Set[string] { return ksets.New(items...) }

func ignore(transfer.Progress) {}

// backup takes a volume, as the PodVolumeBackup of that name.
func (s *site) backup(
	volume hostpath.Volume, name string, change func(*transfer.BackupRequest),
) transfer.BackupOutcome {
	s.t.Helper()
	request := transfer.BackupRequest{
		Repository: shop(), Volume: volume, Tags: map[string]string{contract.TagPodVolumeBackup: name},
	}
	if change != nil {
		change(&request)
	}
	outcome, err := s.Backup(s.t.Context(), request, ignore)
	if err != nil {
		s.t.Fatalf("backing up as %s: %v", name, err)
	}
	if len(outcome.SnapshotID) != 64 {
		s.t.Fatalf("backing up as %s: snapshot %q", name, outcome.SnapshotID)
	}
	return outcome
}

// snapshots returns those of the repository, by ID.
func (s *site) snapshots() map[string]restic.Snapshot {
	s.t.Helper()
	opened, err := s.Opener.Open(s.t.Context(), locationName, "shop")
	if err != nil {
		s.t.Fatal(err)
	}
	all, err := opened.Snapshots(s.t.Context(), nil)
	if err := errors.Join(err, opened.Close()); err != nil {
		s.t.Fatal(err)
	}
	byID := map[string]restic.Snapshot{}
	for _, snapshot := range all {
		byID[snapshot.ID] = snapshot
	}
	return byID
}

// content lists what is in a directory: its own entry as ".", without size and content for directories.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String() + " " + info.ModTime().UTC().Format(time.RFC3339Nano)
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += " " + string(data)
		case info.Mode().Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " -> " + target
		}
		found[name] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
