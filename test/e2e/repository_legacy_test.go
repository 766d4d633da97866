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

// TestLegacyRepository continues a repository of Velero up to 1.16, with its password, format and snapshots.
func TestLegacyRepository(t *testing.T) {
	needsNode(t)
	reserveCluster(t)
	ns := newNamespace(t, "legacy", 2)
	apply(t, ns.claim("data"), ns.pod("web", "data", claimVolume("data")))
	ns.waitReady("web")
	ns.fillVolume("web", "/data", "--small")
	before := ns.recordVolume("web", "/data")
	deleteSecret(t, contract.PasswordSecret)
	legacy := ns.createLegacySnapshot()

	wantCompleted(t, backUp(t, "legacy", "--include-namespaces=legacy"))
	taken := wantBackedUp(t, "legacy", "web/data")["web/data"]
	if taken.Status.ParentSnapshotID != legacy {
		t.Errorf("the parent is %q, want %q", taken.Status.ParentSnapshotID, legacy)
	}
	if summary := taken.Status.Summary; summary == nil || summary.FilesNew+summary.FilesChanged > 0 {
		t.Errorf("restic counts %+v, want no new or changed file", summary)
	}
	ns.delete()
	wantRestored(t, restore(t, "legacy", "legacy"))
	ns.waitReady("web")
	ns.waitMarkerRemoved("web", "/data")
	wantSameFiles(t, "the claim", before, ns.recordVolume("web", "/data"))

	deleteBackup(t, "legacy")
	if left := snapshotsAt(t, repositoryPath(t, ns.name), legacyPassword(t)); len(left) != 1 ||
		left[0].ID != legacy {
		t.Errorf("the snapshots are %+v, want only the legacy one", left)
	}
}

func legacyPassword(t *testing.T) string {
	t.Helper()
	secret := get[corev1.Secret](t, velero.Namespace, contract.PasswordSecretLegacy)
	return string(secret.Data[contract.PasswordSecretKey])
}

// createLegacySnapshot creates the namespace's repository with a snapshot of the claim's volume as Velero up to 1.16
// did, and returns the ID of the snapshot (release-1.16, pkg/podvolume/backupper.go, pkg/restic/command_factory.go).
func (ns *testNamespace) createLegacySnapshot() string {
	ns.t.Helper()
	claim := get[corev1.PersistentVolumeClaim](ns.t, ns.name, "data")
	volume := get[corev1.PersistentVolume](ns.t, "", claim.Spec.VolumeName)
	path, password := repositoryPath(ns.t, ns.name), legacyPassword(ns.t)
	commands := [][]string{
		{"init", "--repository-version=1"},
		{
			"backup", ".", "--host=velero", "--tag=backup=old", "--tag=backup-uid=old-uid", "--tag=pod=web",
			"--tag=pod-uid=old-pod", "--tag=ns=" + ns.name, "--tag=volume=data", "--tag=pvc-uid=" + string(claim.UID),
		},
	}
	for _, args := range commands {
		cmd, stderr := resticCommand(ns.t, path, password, append(args, "--no-cache", "--quiet")...)
		cmd.Dir = filepath.Clean(volume.Spec.Local.Path)
		if out, err := cmd.Output(); err != nil {
			ns.t.Fatalf("restic %s: %v: %s%s", args[0], err, out, stderr)
		}
	}
	found := snapshotsAt(ns.t, path, password)
	if len(found) != 1 {
		ns.t.Fatalf("there are %d snapshots, want one", len(found))
	}
	return found[0].ID
}
