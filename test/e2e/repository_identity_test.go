// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// place is a storage location of a test's own, in a bucket of its own, and the repository of a namespace in it. Velero
// takes a bucket for broken in whose root it finds a folder that it does not know.
type place struct {
	*scene

	// location is the name of the storage location, and of its bucket.
	location string
	spec     velerov1.BackupStorageLocationSpec
}

func (s *scene) newPlace(location string) *place {
	s.t.Helper()
	usual := get[velerov1.BackupStorageLocation](s.t, "-n", velero.Namespace, "backupstoragelocations.velero.io", "default")
	p := &place{scene: s, location: location, spec: usual.Spec}
	p.spec.Default = false
	p.spec.ObjectStorage.Bucket, p.spec.ObjectStorage.Prefix = location, "first"
	if err := os.MkdirAll(p.bucket(), 0o755); err != nil {
		s.t.Fatal(err)
	}
	p.create()
	s.t.Cleanup(func() {
		kubectl(s.t, "-n", velero.Namespace, "delete", "backupstoragelocations.velero.io", location, "--ignore-not-found")
		kubectl(s.t, "-n", velero.Namespace, "delete", "resticrepositories.restic.velero.io", p.name(), "--ignore-not-found")
	})
	return p
}

func (p *place) name() string { return contract.RepositoryName(p.namespace, p.location) }

// bucket is the folder of the store that is the bucket.
func (p *place) bucket() string { return filepath.Join(filepath.Dir(suite.store.Folder), p.location) }

// folder is the repository's among the bucket's files.
func (p *place) folder() string { return filepath.Join(p.bucket(), "first", "restic", p.namespace) }

func (p *place) create() {
	p.t.Helper()
	apply(p.t, &velerov1.BackupStorageLocation{
		TypeMeta:   kind("velero.io/v1", "BackupStorageLocation"),
		ObjectMeta: metav1.ObjectMeta{Name: p.location, Namespace: velero.Namespace},
		Spec:       p.spec,
	})
	kubectl(p.t, "-n", velero.Namespace, "wait", "backupstoragelocation/"+p.location,
		"--for=jsonpath={.status.phase}=Available", "--timeout=90s")
}

func (p *place) patch(patch string) {
	p.t.Helper()
	kubectl(p.t, "-n", velero.Namespace, "patch", "backupstoragelocations.velero.io", p.location, "--type=merge", "-p",
		patch)
}

// in is the place for a part of the test.
func (p *place) in(t *testing.T) *place {
	part := *p
	part.scene = &scene{t: t, namespace: p.namespace}
	return &part
}

// wantState waits until the repository is in the phase and says all of this.
func (p *place) wantState(phase resticv1.RepositoryPhase, says ...string) {
	p.t.Helper()
	eventually(p.t, 30*time.Second, "state of the repository", func() error {
		got, err := tryGet[resticv1.ResticRepository](p.t, "-n", velero.Namespace,
			"resticrepositories.restic.velero.io", p.name())
		if err != nil {
			return err
		}
		for _, part := range append(says, "") {
			if got.Status.Phase != phase || !strings.Contains(got.Status.Message, part) {
				return fmt.Errorf("it is %q, want %q and %q in: %s", got.Status.Phase, phase, part, got.Status.Message)
			}
		}
		return nil
	})
}

func (p *place) move(from, to string) {
	p.t.Helper()
	if err := os.Rename(from, to); err != nil {
		p.t.Fatal(err)
	}
}

// TestRepositoryIdentity moves, replaces and takes away what a repository's object stands for. Nothing of it may cost
// data, or have a new repository made in silence.
func TestRepositoryIdentity(t *testing.T) {
	needsNode(t)
	t.Parallel()
	s := newScene(t, "identity", 0)
	apply(t, s.pod("web", "cache", emptyDir("cache")))
	s.waitReady("web")
	s.shell("web", "echo one > /cache/file")
	p := s.newPlace("identity")
	wantComplete(t, backUp(t, "identity", "--include-namespaces=identity", "--storage-location=identity"))
	taken := wantTaken(t, "identity", "web/cache")["web/cache"]
	p.wantState(resticv1.RepositoryReady)

	t.Run("the location points to another folder", func(t *testing.T) {
		p := p.in(t)
		p.patch(`{"spec":{"objectStorage":{"prefix":"second"}}}`)
		p.wantState(resticv1.RepositoryNotReady, "is gone from s3:", "identity/second/restic/identity",
			"delete this ResticRepository to begin a new one")
		if _, err := os.Stat(filepath.Join(p.bucket(), "second", "restic")); err == nil {
			t.Error("a repository was made elsewhere")
		}
		p.patch(`{"spec":{"objectStorage":{"prefix":"first"}}}`)
		p.wantState(resticv1.RepositoryReady)
	})
	t.Run("the folder is gone, which a backup finds out", func(t *testing.T) {
		p := p.in(t)
		p.move(p.folder(), p.folder()+"-aside")
		failed := backUp(t, "identity-gone", "--include-namespaces=identity", "--storage-location=identity")
		if failed.Status.Phase != velerov1.BackupPhasePartiallyFailed {
			t.Errorf("the backup is %s, want PartiallyFailed", failed.Status.Phase)
		}
		wants(t, "the PodVolumeBackup", podVolumeBackups(t, "identity-gone")["web/cache"].Status.Message,
			"there is no restic repository at this place")
		p.wantState(resticv1.RepositoryNotReady, "is gone from s3:", "restore the bucket")
		p.move(p.folder()+"-aside", p.folder())
		p.wantState(resticv1.RepositoryReady)
	})
	t.Run("another repository is in its place", func(t *testing.T) {
		p := p.in(t)
		p.move(p.folder(), p.folder()+"-aside")
		makeAnother, stderr := resticAt(t, "identity/first/restic/identity", password(t), "init", "--no-cache")
		if out, err := makeAnother.Output(); err != nil {
			t.Fatalf("%v: %s%s", err, out, stderr)
		}
		p.patch(`{"spec":{"validationFrequency":"2m"}}`) // any change has it looked at
		p.wantState(resticv1.RepositoryNotReady, "is another one than before", "delete this ResticRepository")
		p.move(p.folder(), p.folder()+"-other")
		p.move(p.folder()+"-aside", p.folder())
		p.wantState(resticv1.RepositoryReady)
	})
	t.Run("the location is deleted and comes back", func(t *testing.T) {
		p := p.in(t)
		kubectl(t, "-n", velero.Namespace, "delete", "backupstoragelocations.velero.io", p.location)
		p.wantState(resticv1.RepositoryNotReady, "BackupStorageLocation velero/identity does not exist")
		p.create()
		p.wantState(resticv1.RepositoryReady)
	})
	t.Run("the location is read-only", func(t *testing.T) {
		p := p.in(t)
		p.patch(`{"spec":{"accessMode":"ReadOnly"}}`)
		p.wantState(resticv1.RepositoryReady)
		refused := backUp(t, "identity-refused", "--include-namespaces=identity", "--storage-location=identity")
		if refused.Status.Phase != velerov1.BackupPhaseFailedValidation {
			t.Errorf("the backup is %s, want FailedValidation", refused.Status.Phase)
		}
		kubectl(t, "-n", s.namespace, "delete", "pod", "web", "--timeout=60s")
		wantRestored(t, restore(t, "identity", "identity"))
		p.waitReady("web")
		if got := p.shell("web", "cat /cache/file"); got != "one\n" {
			t.Errorf("the file is %q, want one", got)
		}
		if got := podVolumeRestores(t, "identity")["web/cache"]; got.Status.SnapshotID != taken.Status.SnapshotID ||
			!strings.HasSuffix(got.Spec.RepoIdentifier, "identity/first/restic/identity") {
			t.Errorf("restored snapshot %q of %q", got.Status.SnapshotID, got.Spec.RepoIdentifier)
		}
		p.patch(`{"spec":{"accessMode":"ReadWrite"}}`)
	})
	deleteBackup(t, "identity")
	if left := listSnapshots(t, "identity/first/restic/identity", password(t)); len(left) > 0 {
		t.Errorf("snapshots are left: %+v", left)
	}
}

// TestRestoreWithoutRepository restores where the repository was lost, together with its object.
func TestRestoreWithoutRepository(t *testing.T) {
	needsNode(t)
	t.Parallel()
	s := newScene(t, "norepo", 0)
	apply(t, s.pod("web", "cache", emptyDir("cache")))
	s.waitReady("web")
	s.shell("web", "echo one > /cache/file")
	p := s.newPlace("norepo")
	wantComplete(t, backUp(t, "norepo", "--include-namespaces=norepo", "--storage-location=norepo"))
	s.deleteNamespace()
	p.move(p.folder(), p.folder()+"-aside")
	kubectl(t, "-n", velero.Namespace, "delete", "resticrepositories.restic.velero.io", p.name())

	veleroCLI(t, "restore", "create", "norepo", "--from-backup=norepo")
	const says = "so nothing of namespace norepo can be restored from it"
	p.wantState(resticv1.RepositoryNotReady, "there is no repository at s3:", says, "resticRepoPrefix")
	result := awaitRestore(t, "norepo")
	if result.Status.Phase != velerov1.RestorePhasePartiallyFailed {
		t.Errorf("the restore is %s, want PartiallyFailed", result.Status.Phase)
	}
	wants(t, "velero restore describe --details", veleroCLI(t, "restore", "describe", "norepo", "--details"),
		"pod norepo/web", "cache: Failed", says)
	if _, err := os.Stat(p.folder()); err == nil {
		t.Error("a repository was made for the restore")
	}
	s.deleteNamespace()

	// Deleting the backup makes none either.
	deleteBackup(t, "norepo")
	if _, err := os.Stat(p.folder()); err == nil {
		t.Error("a repository was made for the deletion")
	}
	// The first backup may.
	apply(t, fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: %s\n", s.namespace),
		s.pod("web", "cache", emptyDir("cache")))
	s.waitReady("web")
	s.shell("web", "echo two > /cache/file")
	wantComplete(t, backUp(t, "norepo-2", "--include-namespaces=norepo", "--storage-location=norepo"))
	wantTaken(t, "norepo-2", "web/cache")
	deleteBackup(t, "norepo-2")
}
