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
	s, copied := newScene(t, "mapped", 2), newScene(t, "mapped-copy", 0)
	apply(t, s.claim("data"), s.pod("web", "data,cache", claimed("data"), emptyDir("cache")))
	s.waitReady("web")
	s.fill("web", "/data", "--small")
	s.fill("web", "/cache", "--small")
	data, cache := s.record("web", "/data"), s.record("web", "/cache")
	wantComplete(t, backUp(t, "mapped", "--include-namespaces=mapped"))
	s.shell("web", "rm /data/big.bin")

	wantRestored(t, restore(t, "mapped", "mapped", "--namespace-mappings", "mapped:mapped-copy"))
	copied.waitReady("web")
	copied.waitUnmarked("web", "/data")
	copied.waitUnmarked("web", "/cache")
	same(t, "the claim", data, copied.record("web", "/data"))
	same(t, "the emptyDir", cache, copied.record("web", "/cache"))
	if got := s.shell("web", "ls /data/big.bin 2>&1 || true"); !strings.Contains(got, "No such file") {
		t.Errorf("the pod that was backed up has changed: %s", got)
	}
}

// TestRestoreSkipsExistingPod restores over a pod that runs.
func TestRestoreSkipsExistingPod(t *testing.T) {
	t.Parallel()
	s := newScene(t, "existing", 0)
	apply(t, s.pod("web", "cache", emptyDir("cache")))
	s.waitReady("web")
	s.shell("web", "echo old > /cache/file")
	wantComplete(t, backUp(t, "existing", "--include-namespaces=existing"))
	s.shell("web", "echo new > /cache/file")

	result := restore(t, "existing", "existing")
	const reason = "volume cache of pod existing/web is not restored: the pod exists already"
	if result.Status.Phase != "Completed" || result.Status.Errors > 0 {
		t.Errorf("the restore is %s with %d errors, want Completed", result.Status.Phase, result.Status.Errors)
	}
	if got := s.shell("web", "cat /cache/file; ls -A /cache"); got != "new\nfile\n" {
		t.Errorf("the volume holds %q, want what the running pod wrote", got)
	}
	wants(t, "velero restore describe --details", veleroCLI(t, "restore", "describe", "existing", "--details"),
		"cache: Skipped, "+reason, "Delete the pod")
	wants(t, "velero restore logs", strings.Join(complaints(t, "restore", "existing"), "\n"), reason)
	eventually(t, skippedLimit, "PodVolumeRestore skipped", func() error {
		status := podVolumeRestores(t, "existing")["web/cache"].Status
		if !strings.Contains(status.Message, reason) {
			return fmt.Errorf("its message is %q", status.Message)
		}
		return wantSkipped(status.VolumeStatus)
	})
}
