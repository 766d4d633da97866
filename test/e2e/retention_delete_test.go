// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"testing"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// customResources are all kinds of ours, as kubectl takes them.
const customResources = "podvolumebackups.restic.velero.io,podvolumerestores.restic.velero.io," +
	"resticrepositories.restic.velero.io"

// TestDeleteBackup looks into the repository after each of two backups was deleted.
func TestDeleteBackup(t *testing.T) {
	needsNode(t)
	t.Parallel()
	ns := newNamespace(t, "delete", 1)
	apply(t, ns.claim("data"), ns.pod("web", "data,cache", claimVolume("data"), emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", "echo one > /data/file; echo two > /cache/file")
	wantCompleted(t, backUp(t, "delete-1", "--include-namespaces=delete"))
	ns.shell("web", "echo more >> /data/file")
	wantCompleted(t, backUp(t, "delete-2", "--include-namespaces=delete"))
	first := wantBackedUp(t, "delete-1", "web/data", "web/cache")
	second := wantBackedUp(t, "delete-2", "web/data", "web/cache")
	data, cache := second["web/data"].Status.SnapshotID, second["web/cache"].Status.SnapshotID
	wantSnapshots(t, ns.name,
		first["web/data"].Status.SnapshotID, first["web/cache"].Status.SnapshotID, data, cache)

	deleteBackup(t, "delete-1")
	wantSnapshots(t, ns.name, data, cache)
	wantBackedUp(t, "delete-2", "web/data", "web/cache")
	if out, err := runRestic(t, ns.name, "check", "--read-data"); err != nil {
		t.Errorf("the repository is not whole after a deletion: %v: %s", err, out)
	}

	t.Run("what is left can be restored", func(t *testing.T) {
		in := &testNamespace{t: t, name: ns.name, storageClass: ns.storageClass}
		kubectl(t, "-n", ns.name, "delete", "pod", "web", "--timeout=60s")
		wantRestored(t, restore(t, "delete-2", "delete-2"))
		in.waitReady("web")
		if got := in.shell("web", "cat /cache/file"); got != "two\n" {
			t.Errorf("the file is %q, want two", got)
		}
	})
	deleteBackup(t, "delete-2")
	wantSnapshots(t, ns.name)
}

// TestRestoreAfterLosingCustomResources restores in a cluster that has lost every object of ours. It is not parallel: they are everybody's.
func TestRestoreAfterLosingCustomResources(t *testing.T) {
	ns := newNamespace(t, "lost", 2)
	apply(t, ns.claim("data"), ns.pod("web", "data,cache", claimVolume("data"), emptyDir("cache")))
	ns.waitReady("web")
	ns.fillVolume("web", "/data", "--small")
	ns.fillVolume("web", "/cache", "--small")
	data, cache := ns.recordVolume("web", "/data"), ns.recordVolume("web", "/cache")
	wantCompleted(t, backUp(t, "lost", "--include-namespaces=lost"))
	taken := wantBackedUp(t, "lost", "web/data", "web/cache")
	ns.delete()

	kubectl(t, "-n", velero.Namespace, "delete", customResources, "--all", "--timeout=60s")
	if suite.node != nil {
		wantSnapshots(t, ns.name, taken["web/data"].Status.SnapshotID, taken["web/cache"].Status.SnapshotID)
	}
	wantRestored(t, restore(t, "lost", "lost"))
	ns.waitReady("web")
	ns.waitMarkerRemoved("web", "/data")
	ns.waitMarkerRemoved("web", "/cache")
	wantSameFiles(t, "the claim", data, ns.recordVolume("web", "/data"))
	wantSameFiles(t, "the emptyDir", cache, ns.recordVolume("web", "/cache"))
	for volume, restored := range podVolumeRestores(t, "lost") {
		if want := taken[volume].Status.SnapshotID; restored.Status.SnapshotID != want {
			t.Errorf("%s was restored from snapshot %q, want %q", volume, restored.Status.SnapshotID, want)
		}
	}

	deleteBackup(t, "lost")
	if suite.node != nil {
		wantSnapshots(t, ns.name)
	}
}
