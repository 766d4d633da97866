// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"strings"
	"testing"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// TestRestoreOntoRootSquash restores onto storage that refuses to set owners and permissions, as NFS with root squash
// does. The content is restored, with a warning for each file.
func TestRestoreOntoRootSquash(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	ns := newNamespace(t, "squash", 1)
	apply(t, ns.claim("data"), ns.pod("web", "data", claimVolume("data")))
	ns.waitReady("web")
	ns.shell("web", "for n in 1 2 3; do echo content $n > /data/$n; chown 100$n:1000 /data/$n; done; chmod 600 /data/3")
	wantCompleted(t, backUp(t, "squash", "--include-namespaces=squash"))
	ns.delete()

	volume := localVolume(t, clusterOf(t).node, "squash-refusing", ns.storageClass)
	volume.Spec.Local.Path = mountView(t, volume.Spec.Local.Path, "--chown-deny", "--chgrp-deny", "--chmod-deny")
	apply(t, volume)
	wantRestored(t, restore(t, "squash", "squash"))
	ns.waitReady("web")
	ns.waitMarkerRemoved("web", "/data")
	if got := ns.boundVolume("data"); got != volume.Name {
		t.Fatalf("the claim is bound to %s, want %s", got, volume.Name)
	}
	const want = "content 1\ncontent 2\ncontent 3\n0\n"
	if got := ns.shell("web", "cat /data/*; stat -c %u /data/1"); got != want {
		t.Errorf("the volume holds %q, want %q: the content, and root as the owner", got, want)
	}
	status := podVolumeRestores(t, "squash")["web/data"].Status
	if status.Phase != resticv1.PhaseCompleted || status.WarningCount < 3 || len(status.Warnings) == 0 {
		t.Errorf("the PodVolumeRestore is %s with %d warnings, want Completed with one or more for each file: %v",
			status.Phase, status.WarningCount, status.Warnings)
	}
	wantContains(t, "the PodVolumeRestore", strings.Join(status.Warnings, "\n"), "lchown", "operation not permitted")
	wantContains(t, "velero restore describe --details", veleroCLI(t, "restore", "describe", "squash", "--details"),
		"data: Completed, ", "warnings")
}
