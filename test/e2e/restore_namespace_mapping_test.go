// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestRestoreWithNamespaceMapping restores beside what was backed up.
func TestRestoreWithNamespaceMapping(t *testing.T) {
	t.Parallel()
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
		t.Errorf("the pod that was backed up has changed: %s", got)
	}
}

// TestRestoreSkipsExistingPod restores over a pod that runs.
func TestRestoreSkipsExistingPod(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t, "existing", 0)
	apply(t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", "echo old > /cache/file")
	wantCompleted(t, backUp(t, "existing", "--include-namespaces=existing"))
	ns.shell("web", "echo new > /cache/file")

	result := restore(t, "existing", "existing")
	const reason = "volume cache of pod existing/web is not restored: the pod exists already"
	if result.Status.Phase != "Completed" || result.Status.Errors > 0 {
		t.Errorf("the restore is %s with %d errors, want Completed", result.Status.Phase, result.Status.Errors)
	}
	if got := ns.shell("web", "cat /cache/file; ls -A /cache"); got != "new\nfile\n" {
		t.Errorf("the volume holds %q, want what the running pod wrote", got)
	}
	wantContains(t, "velero restore describe --details", veleroCLI(t, "restore", "describe", "existing", "--details"),
		"cache: Skipped, "+reason, "Delete the pod")
	wantContains(t, "velero restore logs", strings.Join(warningsAndErrors(t, "restore", "existing"), "\n"), reason)
	eventually(t, skippedLimit, "PodVolumeRestore skipped", func() error {
		status := podVolumeRestores(t, "existing")["web/cache"].Status
		if !strings.Contains(status.Message, reason) {
			return fmt.Errorf("its message is %q", status.Message)
		}
		return wantSkipped(status.VolumeStatus)
	})
}
