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

// testLocation is a storage location with a bucket of its own, and the repository of a namespace in it. The bucket is
// not shared, since Velero rejects a bucket with a directory that it does not know at the root.
type testLocation struct {
	*testNamespace

	// location is the name of the storage location and of its bucket.
	location string
	spec     velerov1.BackupStorageLocationSpec
}

func (ns *testNamespace) newLocation(location string) *testLocation {
	ns.t.Helper()
	existing := get[velerov1.BackupStorageLocation](ns.t, velero.Namespace, "default")
	l := &testLocation{testNamespace: ns, location: location, spec: existing.Spec}
	l.spec.Default = false
	l.spec.ObjectStorage.Bucket, l.spec.ObjectStorage.Prefix = location, "first"
	if err := os.MkdirAll(l.bucket(), 0o755); err != nil {
		ns.t.Fatal(err)
	}
	l.create()
	ns.t.Cleanup(func() {
		kubectl(ns.t, "-n", velero.Namespace, "delete", "--ignore-not-found",
			"backupstoragelocations.velero.io/"+location, "resticrepositories.restic.velero.io/"+l.repositoryName())
	})
	return l
}

func (l *testLocation) repositoryName() string { return contract.RepositoryName(l.name, l.location) }

// bucket is the directory of the bucket.
func (l *testLocation) bucket() string {
	return filepath.Join(filepath.Dir(clusterOf(l.t).store.Folder), l.location)
}

// repositoryFolder is the directory of the repository in the bucket.
func (l *testLocation) repositoryFolder() string {
	return filepath.Join(l.bucket(), "first", "restic", l.name)
}

func (l *testLocation) create() {
	l.t.Helper()
	apply(l.t, &velerov1.BackupStorageLocation{
		TypeMeta:   typeMeta("velero.io/v1", "BackupStorageLocation"),
		ObjectMeta: metav1.ObjectMeta{Name: l.location, Namespace: velero.Namespace},
		Spec:       l.spec,
	})
	kubectl(l.t, "-n", velero.Namespace, "wait", "backupstoragelocation/"+l.location,
		"--for=jsonpath={.status.phase}=Available", "--timeout=90s")
}

func (l *testLocation) patch(patch string) {
	l.t.Helper()
	kubectl(l.t, "-n", velero.Namespace, "patch", "backupstoragelocations.velero.io", l.location, "--type=merge", "-p",
		patch)
}

// forSubtest returns the location for a subtest.
func (l *testLocation) forSubtest(t *testing.T) *testLocation {
	location := *l
	location.testNamespace = l.in(t)
	return &location
}

// wantState waits until the repository is in the phase, with a message that has all the parts.
func (l *testLocation) wantState(phase resticv1.RepositoryPhase, parts ...string) {
	l.t.Helper()
	eventually(l.t, 30*time.Second, "state of the repository", func() error {
		got, err := tryGet[resticv1.ResticRepository](l.t, velero.Namespace, l.repositoryName())
		if err != nil {
			return err
		}
		for _, part := range append(parts, "") {
			if got.Status.Phase != phase || !strings.Contains(got.Status.Message, part) {
				return fmt.Errorf("its phase is %q, want %q with %q in: %s", got.Status.Phase, phase, part,
					got.Status.Message)
			}
		}
		return nil
	})
}

func (l *testLocation) moveFolder(from, to string) {
	l.t.Helper()
	if err := os.Rename(from, to); err != nil {
		l.t.Fatal(err)
	}
}

// TestRepositoryIdentity moves, replaces and removes the repository of an existing ResticRepository. No data may be
// lost, and no new repository may be created without a message.
func TestRepositoryIdentity(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	ns := newNamespace(t, "identity", 0)
	apply(t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", "echo one > /cache/file")
	l := ns.newLocation("identity")
	wantCompleted(t, backUp(t, "identity", "--include-namespaces=identity", "--storage-location=identity"))
	taken := wantBackedUp(t, "identity", "web/cache")["web/cache"]
	l.wantState(resticv1.RepositoryReady)

	t.Run("the location points to another folder", func(t *testing.T) {
		l := l.forSubtest(t)
		l.patch(`{"spec":{"objectStorage":{"prefix":"second"}}}`)
		l.wantState(resticv1.RepositoryNotReady, "is gone from s3:", "identity/second/restic/identity",
			"delete this ResticRepository to begin a new one")
		if _, err := os.Stat(filepath.Join(l.bucket(), "second", "restic")); err == nil {
			t.Error("a new repository was created")
		}
		l.patch(`{"spec":{"objectStorage":{"prefix":"first"}}}`)
		l.wantState(resticv1.RepositoryReady)
	})
	t.Run("the folder is gone, and a backup reports it", func(t *testing.T) {
		l := l.forSubtest(t)
		l.moveFolder(l.repositoryFolder(), l.repositoryFolder()+"-aside")
		failed := backUp(t, "identity-gone", "--include-namespaces=identity", "--storage-location=identity")
		wantPhase(t, failed, velerov1.BackupPhasePartiallyFailed)
		wantContains(t, "the PodVolumeBackup", podVolumeBackups(t, "identity-gone")["web/cache"].Status.Message,
			"there is no restic repository at this place")
		l.wantState(resticv1.RepositoryNotReady, "is gone from s3:", "restore the bucket")
		l.moveFolder(l.repositoryFolder()+"-aside", l.repositoryFolder())
		l.wantState(resticv1.RepositoryReady)
	})
	t.Run("another repository is in its place", func(t *testing.T) {
		l := l.forSubtest(t)
		l.moveFolder(l.repositoryFolder(), l.repositoryFolder()+"-aside")
		initialize, stderr := resticCommand(t, "identity/first/restic/identity", password(t), "init", "--no-cache")
		if out, err := initialize.Output(); err != nil {
			t.Fatalf("%v: %s%s", err, out, stderr)
		}
		l.patch(`{"spec":{"validationFrequency":"2m"}}`) // the leader looks at the repository after any change
		l.wantState(resticv1.RepositoryNotReady, "is another one than before", "delete this ResticRepository")
		l.moveFolder(l.repositoryFolder(), l.repositoryFolder()+"-other")
		l.moveFolder(l.repositoryFolder()+"-aside", l.repositoryFolder())
		l.wantState(resticv1.RepositoryReady)
	})
	t.Run("the location is deleted and created again", func(t *testing.T) {
		l := l.forSubtest(t)
		kubectl(t, "-n", velero.Namespace, "delete", "backupstoragelocations.velero.io", l.location)
		l.wantState(resticv1.RepositoryNotReady, "BackupStorageLocation velero/identity does not exist")
		l.create()
		l.wantState(resticv1.RepositoryReady)
	})
	t.Run("the location is read-only", func(t *testing.T) {
		l := l.forSubtest(t)
		l.patch(`{"spec":{"accessMode":"ReadOnly"}}`)
		l.wantState(resticv1.RepositoryReady)
		refused := backUp(t, "identity-refused", "--include-namespaces=identity", "--storage-location=identity")
		wantPhase(t, refused, velerov1.BackupPhaseFailedValidation)
		kubectl(t, "-n", ns.name, "delete", "pod", "web", "--timeout=60s")
		wantRestored(t, restore(t, "identity", "identity"))
		l.waitReady("web")
		if got := l.shell("web", "cat /cache/file"); got != "one\n" {
			t.Errorf("the file is %q, want one", got)
		}
		if got := podVolumeRestores(t, "identity")["web/cache"]; got.Status.SnapshotID != taken.Status.SnapshotID ||
			!strings.HasSuffix(got.Spec.RepoIdentifier, "identity/first/restic/identity") {
			t.Errorf("snapshot %q of repository %q was restored, want %q", got.Status.SnapshotID, got.Spec.RepoIdentifier,
				taken.Status.SnapshotID)
		}
		l.patch(`{"spec":{"accessMode":"ReadWrite"}}`)
	})
	deleteBackup(t, "identity")
	if left := snapshotsAt(t, "identity/first/restic/identity", password(t)); len(left) > 0 {
		t.Errorf("snapshots remain: %+v", left)
	}
}

// TestRestoreWithoutRepository restores after the repository and its ResticRepository were lost.
func TestRestoreWithoutRepository(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	ns := newNamespace(t, "no-repo", 0)
	apply(t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", "echo one > /cache/file")
	l := ns.newLocation("no-repo")
	wantCompleted(t, backUp(t, "no-repo", "--include-namespaces=no-repo", "--storage-location=no-repo"))
	ns.delete()
	l.moveFolder(l.repositoryFolder(), l.repositoryFolder()+"-aside")
	kubectl(t, "-n", velero.Namespace, "delete", "resticrepositories.restic.velero.io", l.repositoryName())

	veleroCLI(t, "restore", "create", "no-repo", "--from-backup=no-repo")
	const message = "so nothing of namespace no-repo can be restored from it"
	l.wantState(resticv1.RepositoryNotReady, "there is no repository at s3:", message, "resticRepoPrefix")
	result := waitRestore(t, "no-repo")
	if result.Status.Phase != velerov1.RestorePhasePartiallyFailed {
		t.Errorf("the restore is %s, want PartiallyFailed", result.Status.Phase)
	}
	wantContains(t, "velero restore describe --details", veleroCLI(t, "restore", "describe", "no-repo", "--details"),
		"pod no-repo/web", "cache: Failed", message)
	if _, err := os.Stat(l.repositoryFolder()); err == nil {
		t.Error("the restore created a repository")
	}
	ns.delete()

	// Deleting the backup must not create a repository either.
	deleteBackup(t, "no-repo")
	if _, err := os.Stat(l.repositoryFolder()); err == nil {
		t.Error("the deletion created a repository")
	}
	// The next backup creates one.
	apply(t, fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: %s\n", ns.name),
		ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", "echo two > /cache/file")
	wantCompleted(t, backUp(t, "no-repo-2", "--include-namespaces=no-repo", "--storage-location=no-repo"))
	wantBackedUp(t, "no-repo-2", "web/cache")
	deleteBackup(t, "no-repo-2")
}
