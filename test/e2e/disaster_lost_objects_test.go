// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"testing"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// TestRestoreAfterLosingCustomResources restores in a cluster that has lost all objects of this project.
func TestRestoreAfterLosingCustomResources(t *testing.T) {
	reserveCluster(t)
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
	if suite.local {
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
	if suite.local {
		wantSnapshots(t, ns.name)
	}
}
