// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestRestoreSkipsExistingPod restores a pod that exists and runs.
func TestRestoreSkipsExistingPod(t *testing.T) {
	shareCluster(t)
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
