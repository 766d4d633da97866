// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"strings"
	"testing"
)

// TestRestoreWithNamespaceMapping restores into another namespace, beside the original pod.
func TestRestoreWithNamespaceMapping(t *testing.T) {
	shareCluster(t)
	ns, copied := newNamespace(t, "mapped", 2), newNamespace(t, "mapped-copy", 0)
	apply(t, ns.claim("data"), ns.pod("web", "data,cache", claimVolume("data"), emptyDir("cache")))
	ns.waitReady("web")
	ns.fillVolume("web", "/data", "--small")
	ns.fillVolume("web", "/cache", "--small")
	data, cache := ns.recordVolume("web", "/data"), ns.recordVolume("web", "/cache")
	wantCompleted(t, backUp(t, "mapped", "--include-namespaces=mapped"))
	ns.shell("web", "rm /data/big.bin")

	wantRestored(t, restore(t, "mapped", "mapped", "--namespace-mappings", "mapped:mapped-copy"))
	copied.waitReady("web")
	copied.waitMarkerRemoved("web", "/data")
	copied.waitMarkerRemoved("web", "/cache")
	wantSameFiles(t, "the claim", data, copied.recordVolume("web", "/data"))
	wantSameFiles(t, "the emptyDir", cache, copied.recordVolume("web", "/cache"))
	if got := ns.shell("web", "ls /data/big.bin 2>&1 || true"); !strings.Contains(got, "No such file") {
		t.Errorf("the original pod has the deleted file again: %s", got)
	}
}
