// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestRestoreAfterLosingCRDs restores after the CustomResourceDefinitions of this project were deleted, and every
// object with them.
func TestRestoreAfterLosingCRDs(t *testing.T) {
	needsNode(t)
	reserveCluster(t)
	ns := newNamespace(t, "undefined", 0)
	apply(t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", "echo one > /cache/file")
	wantCompleted(t, backUp(t, "undefined", "--include-namespaces=undefined"))
	taken := wantBackedUp(t, "undefined", "web/cache")["web/cache"].Status.SnapshotID
	ns.delete()

	definitions := filepath.Join(suite.repository, "examples", "base", "crds")
	kubectl(t, "delete", "-k", definitions, "--timeout=60s")
	wantSnapshots(t, ns.name, taken)
	kubectl(t, "apply", "-k", definitions)
	for resource := range strings.SplitSeq(customResources, ",") {
		kubectl(t, "wait", "--for=condition=Established", "crd/"+resource, "--timeout=60s")
	}

	wantRestored(t, restore(t, "undefined", "undefined"))
	ns.waitReady("web")
	if got := ns.shell("web", "cat /cache/file"); got != "one\n" {
		t.Errorf("the file is %q, want one", got)
	}
	deleteBackup(t, "undefined")
	wantSnapshots(t, ns.name)
}
