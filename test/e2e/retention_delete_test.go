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
	s := newScene(t, "delete", 1)
	apply(t, s.claim("data"), s.pod("web", "data,cache", claimed("data"), emptyDir("cache")))
	s.waitReady("web")
	s.shell("web", "echo one > /data/file; echo two > /cache/file")
	wantComplete(t, backUp(t, "delete-1", "--include-namespaces=delete"))
	s.shell("web", "echo more >> /data/file")
	wantComplete(t, backUp(t, "delete-2", "--include-namespaces=delete"))
	first := wantTaken(t, "delete-1", "web/data", "web/cache")
	second := wantTaken(t, "delete-2", "web/data", "web/cache")
	data, cache := second["web/data"].Status.SnapshotID, second["web/cache"].Status.SnapshotID
	wantSnapshots(t, s.namespace,
		first["web/data"].Status.SnapshotID, first["web/cache"].Status.SnapshotID, data, cache)

	deleteBackup(t, "delete-1")
	wantSnapshots(t, s.namespace, data, cache)
	wantTaken(t, "delete-2", "web/data", "web/cache")
	if out, err := runRestic(t, s.namespace, "check", "--read-data"); err != nil {
		t.Errorf("the repository is not whole after a deletion: %v: %s", err, out)
	}

	t.Run("what is left can be restored", func(t *testing.T) {
		in := &scene{t: t, namespace: s.namespace, class: s.class}
		kubectl(t, "-n", s.namespace, "delete", "pod", "web", "--timeout=60s")
		wantRestored(t, restore(t, "delete-2", "delete-2"))
		in.waitReady("web")
		if got := in.shell("web", "cat /cache/file"); got != "two\n" {
			t.Errorf("the file is %q, want two", got)
		}
	})
	deleteBackup(t, "delete-2")
	wantSnapshots(t, s.namespace)
}

// TestRestoreAfterLosingCustomResources restores in a cluster that has lost every object of ours. It is not parallel: they are everybody's.
func TestRestoreAfterLosingCustomResources(t *testing.T) {
	s := newScene(t, "lost", 2)
	apply(t, s.claim("data"), s.pod("web", "data,cache", claimed("data"), emptyDir("cache")))
	s.waitReady("web")
	s.fill("web", "/data", "--small")
	s.fill("web", "/cache", "--small")
	data, cache := s.record("web", "/data"), s.record("web", "/cache")
	wantComplete(t, backUp(t, "lost", "--include-namespaces=lost"))
	taken := wantTaken(t, "lost", "web/data", "web/cache")
	s.deleteNamespace()

	kubectl(t, "-n", velero.Namespace, "delete", customResources, "--all", "--timeout=60s")
	if suite.node != nil {
		wantSnapshots(t, s.namespace, taken["web/data"].Status.SnapshotID, taken["web/cache"].Status.SnapshotID)
	}
	wantRestored(t, restore(t, "lost", "lost"))
	s.waitReady("web")
	s.waitUnmarked("web", "/data")
	s.waitUnmarked("web", "/cache")
	same(t, "the claim", data, s.record("web", "/data"))
	same(t, "the emptyDir", cache, s.record("web", "/cache"))
	for volume, restored := range podVolumeRestores(t, "lost") {
		if want := taken[volume].Status.SnapshotID; restored.Status.SnapshotID != want {
			t.Errorf("%s was restored from snapshot %q, want %q", volume, restored.Status.SnapshotID, want)
		}
	}

	deleteBackup(t, "lost")
	if suite.node != nil {
		wantSnapshots(t, s.namespace)
	}
}
