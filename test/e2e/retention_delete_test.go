// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"testing"
)

// TestDeleteBackup deletes two backups, and looks into the repository after each.
func TestDeleteBackup(t *testing.T) {
	needsNode(t)
	shareCluster(t)
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
		t.Errorf("the repository is damaged after a deletion: %v: %s", err, out)
	}

	t.Run("the other backup can be restored", func(t *testing.T) {
		in := ns.in(t)
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
