// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// TestLegacyRepository goes on with a repository that Velero <= 1.16 made: its password, its format and its snapshots.
// It is not parallel: the password is everybody's.
func TestLegacyRepository(t *testing.T) {
	needsNode(t)
	ns := newNamespace(t, "legacy", 2)
	apply(t, ns.claim("data"), ns.pod("web", "data", claimVolume("data")))
	ns.waitReady("web")
	ns.fillVolume("web", "/data", "--small")
	before := ns.recordVolume("web", "/data")
	deleteSecret(t, contract.PasswordSecret)
	legacy := ns.createLegacySnapshot(t)

	wantCompleted(t, backUp(t, "legacy", "--include-namespaces=legacy"))
	taken := wantBackedUp(t, "legacy", "web/data")["web/data"]
	if taken.Status.ParentSnapshotID != legacy {
		t.Errorf("the parent is %q, want %q", taken.Status.ParentSnapshotID, legacy)
	}
	if summary := taken.Status.Summary; summary == nil || summary.FilesNew+summary.FilesChanged > 0 {
		t.Errorf("restic counts %+v, want no file new or changed", summary)
	}
	ns.delete()
	wantRestored(t, restore(t, "legacy", "legacy"))
	ns.waitReady("web")
	ns.waitMarkerRemoved("web", "/data")
	wantSameFiles(t, "the claim", before, ns.recordVolume("web", "/data"))

	deleteBackup(t, "legacy")
	if left := snapshotsAt(t, repositoryPath(ns.name), legacyPassword(t)); len(left) != 1 || left[0].ID != legacy {
		t.Errorf("the snapshots are %+v, want the legacy one alone", left)
	}
}

func legacyPassword(t *testing.T) string {
	t.Helper()
	secret := get[corev1.Secret](t, "-n", velero.Namespace, "secret", contract.PasswordSecretLegacy)
	return string(secret.Data[contract.PasswordSecretKey])
}

// createLegacySnapshot makes the namespace's repository and a snapshot of the claim's volume in it, as Velero <= 1.16 did, and
// returns the snapshot's ID (release-1.16, pkg/podvolume/backupper.go, pkg/restic/command_factory.go).
func (ns *testNamespace) createLegacySnapshot(t *testing.T) string {
	t.Helper()
	claim := get[corev1.PersistentVolumeClaim](t, "-n", ns.name, "persistentvolumeclaim", "data")
	volume := get[corev1.PersistentVolume](t, "persistentvolume", claim.Spec.VolumeName)
	commands := [][]string{
		{"init", "--repository-version=1"},
		{
			"backup", ".", "--host=velero", "--tag=backup=old", "--tag=backup-uid=old-uid", "--tag=pod=web",
			"--tag=pod-uid=old-pod", "--tag=ns=" + ns.name, "--tag=volume=data", "--tag=pvc-uid=" + string(claim.UID),
		},
	}
	for _, args := range commands {
		cmd, stderr := resticCommand(t, repositoryPath(ns.name), legacyPassword(t), append(args, "--no-cache", "--quiet")...)
		cmd.Dir = filepath.Clean(volume.Spec.Local.Path)
		if out, err := cmd.Output(); err != nil {
			t.Fatalf("restic %s: %v: %s%s", args[0], err, out, stderr)
		}
	}
	list := snapshotsAt(t, repositoryPath(ns.name), legacyPassword(t))
	if len(list) != 1 {
		t.Fatalf("there are %d snapshots, want one", len(list))
	}
	return list[0].ID
}
