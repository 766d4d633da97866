// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package storage

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/restictest"
)

// stepLimit bounds one step against a server that answers. Against one that does not, Probe has a limit of its own.
const stepLimit = 2 * time.Minute

// openLimit is for servers that do not answer, with which an agent is more patient.
const openLimit = 15 * time.Second

// world is a cluster with one storage location, and an agent without volumes.
type world struct {
	t        *testing.T
	location *velerov1.BackupStorageLocation
	// secrets are those of Velero's namespace besides the password, by name.
	secrets map[string]map[string]string
	// env is the agent's environment.
	env map[string]string
	// mountInfo is the agent's table of mounts.
	mountInfo string
	// knownID is under which ID the repository was seen.
	knownID string
	// openTimeout is how long opening may take; 0 means what an agent does.
	openTimeout time.Duration
	scratch     string
	// private are texts that nobody may ever see.
	private []string
}

func newWorld(t *testing.T, location velerov1.BackupStorageLocationSpec) *world {
	t.Helper()
	return &world{
		t: t, secrets: map[string]map[string]string{}, scratch: t.TempDir(),
		env: map[string]string{"PATH": "/nowhere"}, private: []string{"correct horse"},
		location: &velerov1.BackupStorageLocation{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "velero", Name: "default", Annotations: map[string]string{},
			},
			Spec: location,
		},
	}
}

// bucket is a location of an object storage.
func bucket(provider, name string, config map[string]string) velerov1.BackupStorageLocationSpec {
	return velerov1.BackupStorageLocationSpec{
		Provider: provider, Config: config,
		StorageType: velerov1.StorageType{ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: name}},
	}
}

// elsewhere is a location whose repositories are not in its bucket.
func elsewhere(prefix string) velerov1.BackupStorageLocationSpec {
	return bucket("aws", "bucket", map[string]string{"resticRepoPrefix": prefix})
}

func key(name, key string) *corev1.SecretKeySelector {
	return &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key}
}

// credential makes a Secret, and has the location name it. What is private of it is listed.
func (w *world) credential(content string, private ...string) {
	w.secrets["own"] = map[string]string{"cloud": content}
	w.location.Spec.Credential = key("own", "cloud")
	w.private = append(w.private, private...)
}

// extra makes a Secret with variables and files, and has the location name it.
func (w *world) extra(keys map[string]string) {
	w.secrets["extra"] = keys
	w.location.Annotations["restic.velero.io/resticEnvSecret"] = "extra"
}

// mover is an agent in the cluster as it is now.
func (w *world) mover() *transfer.Mover {
	w.t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), velerov1.AddToScheme(scheme)); err != nil {
		w.t.Fatal(err)
	}
	secrets := maps.Clone(w.secrets)
	secrets[contract.PasswordSecret] = map[string]string{contract.PasswordSecretKey: "correct horse"}
	objects := []client.Object{w.location.DeepCopy()}
	for name, keys := range secrets {
		object := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: name}, Data: map[string][]byte{},
		}
		for key, value := range keys {
			object.Data[key] = []byte(value)
		}
		objects = append(objects, object)
	}
	return &transfer.Mover{Clock: clock.RealClock{}, OpenTimeout: w.openTimeout, Opener: &session.Opener{
		Reader:    fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build(),
		Namespace: "velero", Runner: restictest.Process(w.t), ScratchDir: w.scratch, RetryLock: time.Second,
		DefaultCredentialFile: filepath.Join(w.scratch, "no-credential"), ProcessEnv: w.env,
		Program: suite.agent, MountInfo: w.mountInfo,
	}}
}

func (w *world) probe(ctx context.Context) error {
	outcome, err := w.mover().Probe(ctx, transfer.ProbeRequest{
		Repository: transfer.Repository{Location: "default", Namespace: "shop"}, KnownID: w.knownID,
	}, nil)
	if err == nil {
		w.knownID = outcome.ID
	}
	if err != nil {
		for _, private := range w.private {
			if strings.Contains(err.Error(), private) {
				w.t.Errorf("the message has the secret %q: %v", private, err)
			}
		}
	}
	return err
}

// refused opens the repository, which must fail soon, with these words.
func (w *world) refused(says ...string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), stepLimit)
	defer cancel()
	w.openTimeout = openLimit
	err := w.probe(ctx)
	w.openTimeout = 0
	if err == nil {
		w.t.Fatal("the repository opens")
	}
	if ctx.Err() != nil {
		w.t.Error("there was no answer in time")
	}
	w.t.Logf("the message: %v", err)
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			w.t.Errorf("%q does not say %q", err, part)
		}
	}
}

// opens makes the repository, or finds it.
func (w *world) opens() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), stepLimit)
	defer cancel()
	if err := w.probe(ctx); err != nil {
		w.t.Fatal(err)
	}
}

// cycle does all that an agent does with a repository: make, back up, list, restore, compare, forget.
func (w *world) cycle() {
	w.t.Helper()
	w.opens()
	ctx, cancel := context.WithTimeout(w.t.Context(), stepLimit)
	defer cancel()
	opened, err := w.mover().Opener.Open(ctx, "default", "shop")
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() {
		if err := opened.Close(); err != nil {
			w.t.Error(err)
		}
	}()
	from, to := w.t.TempDir(), w.t.TempDir()
	for name, content := range map[string][]byte{
		"a file": []byte("content"), "folder/large": bytes.Repeat([]byte("0123456789abcdef"), 1<<16), "empty": nil,
	} {
		path := filepath.Join(from, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o640)); err != nil {
			w.t.Fatal(err)
		}
	}
	taken, err := opened.Backup(ctx, restic.BackupOptions{
		Dir: from, Host: contract.Host, Tags: map[string]string{contract.TagBackup: "nightly"},
	}, nil)
	if err != nil {
		w.t.Fatal("backing up:", err)
	}
	list, err := opened.Snapshots(ctx, map[string]string{contract.TagBackup: "nightly"})
	if err != nil || len(list) != 1 || list[0].ID != taken.SnapshotID {
		w.t.Fatalf("listing: %v, %v", list, err)
	}
	if _, err := opened.Restore(ctx, restic.RestoreOptions{SnapshotID: taken.SnapshotID, Target: to}, nil); err != nil {
		w.t.Fatal("restoring:", err)
	}
	if diff := cmp.Diff(content(w.t, from), content(w.t, to)); diff != "" {
		w.t.Error("what came back is another thing:", diff)
	}
	if err := opened.Forget(ctx, []string{taken.SnapshotID}); err != nil {
		w.t.Fatal("forgetting:", err)
	}
	if list, err := opened.Snapshots(ctx, nil); err != nil || len(list) != 0 {
		w.t.Errorf("after forgetting: %v, %v", list, err)
	}
	locks, err := opened.Locks(ctx)
	if err != nil || len(locks) != 0 {
		w.t.Errorf("locks are left: %v, %v", locks, err)
	}
}

// content is what is in a folder, by path.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		found[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
