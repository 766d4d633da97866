// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"testing"
)

// TestIncrementalBackup backs up the same claim again, from another pod.
func TestIncrementalBackup(t *testing.T) {
	needsNode(t)
	t.Parallel()
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

	t.Logf("the repository had %d bytes, and %d more after a backup of the same %d bytes in %s, after %s the first time",
		before, added, second.Status.Progress.TotalBytes,
		second.Status.CompletionTimestamp.Sub(second.Status.StartTimestamp.Time),
		first.Status.CompletionTimestamp.Sub(first.Status.StartTimestamp.Time))
	if added >= 1<<20 || added <= 0 {
		t.Errorf("the unchanged volume added %d bytes, want a snapshot's, and less than 1 MiB", added)
	}
	if got, want := second.Status.ParentSnapshotID, first.Status.SnapshotID; got != want {
		t.Errorf("the second backup's parent is %q, want the first's snapshot %q", got, want)
	}
	if summary := second.Status.Summary; summary == nil || summary.FilesNew+summary.FilesChanged > 0 {
		t.Errorf("restic counts %+v, want no file new or changed", summary)
	}
	wantSnapshots(t, ns.name, first.Status.SnapshotID, second.Status.SnapshotID)
}
