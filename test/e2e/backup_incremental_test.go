// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"testing"
)

// TestIncrementalBackup backs up the same claim twice, through two pods.
func TestIncrementalBackup(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	ns := newNamespace(t, "again", 1)
	apply(t, ns.claim("data"), ns.pod("web", "data", claimVolume("data")))
	ns.waitReady("web")
	ns.fillVolume("web", "/data")
	wantCompleted(t, backUp(t, "again-1", "--include-namespaces=again"))
	first := wantBackedUp(t, "again-1", "web/data")["web/data"]

	kubectl(t, "-n", ns.name, "delete", "pod", "web", "--timeout=60s")
	apply(t, ns.pod("web", "data", claimVolume("data")))
	ns.waitReady("web")
	before := repositorySize(t, ns.name)
	wantCompleted(t, backUp(t, "again-2", "--include-namespaces=again"))
	added := repositorySize(t, ns.name) - before
	second := wantBackedUp(t, "again-2", "web/data")["web/data"]

	t.Logf("the repository grew from %d by %d bytes after a second backup of %d bytes, in %s; the first took %s", before,
		added, second.Status.Progress.TotalBytes,
		second.Status.CompletionTimestamp.Sub(second.Status.StartTimestamp.Time),
		first.Status.CompletionTimestamp.Sub(first.Status.StartTimestamp.Time))
	if added >= 1<<20 || added <= 0 {
		t.Errorf("the unchanged volume added %d bytes, want more than 0 and less than 1 MiB for the snapshot", added)
	}
	if got, want := second.Status.ParentSnapshotID, first.Status.SnapshotID; got != want {
		t.Errorf("the second backup's parent is %q, want the first snapshot %q", got, want)
	}
	if summary := second.Status.Summary; summary == nil || summary.FilesNew+summary.FilesChanged > 0 {
		t.Errorf("restic counts %+v, want no new or changed file", summary)
	}
	wantSnapshots(t, ns.name, first.Status.SnapshotID, second.Status.SnapshotID)
}
