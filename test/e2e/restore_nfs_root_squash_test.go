// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// TestRestoreOntoRootSquash restores onto storage that lets nobody set owners and permissions, as NFS with root squash does
// with files of other owners: the content comes back, and what is missing is counted.
func TestRestoreOntoRootSquash(t *testing.T) {
	needsNode(t)
	t.Parallel()
	ns := newNamespace(t, "squash", 1)
	apply(t, ns.claim("data"), ns.pod("web", "data", claimVolume("data")))
	ns.waitReady("web")
	ns.shell("web", "for n in 1 2 3; do echo content $n > /data/$n; chown 100$n:1000 /data/$n; done; chmod 600 /data/3")
	wantCompleted(t, backUp(t, "squash", "--include-namespaces=squash"))
	ns.delete()

	volume := localVolume(t, suite.node, "squash-refusing", ns.storageClass)
	volume.Spec.Local.Path = mountRefusingOwners(t, volume.Spec.Local.Path)
	apply(t, volume)
	wantRestored(t, restore(t, "squash", "squash"))
	ns.waitReady("web")
	ns.waitMarkerRemoved("web", "/data")
	if got := ns.boundVolume("data"); got != volume.Name {
		t.Fatalf("the claim is bound to %s, want %s", got, volume.Name)
	}
	if got, want := ns.shell("web", "cat /data/*; stat -c %u /data/1"), "content 1\ncontent 2\ncontent 3\n0\n"; got != want {
		t.Errorf("the volume holds %q, want %q: the content, and root as the owner", got, want)
	}
	status := podVolumeRestores(t, "squash")["web/data"].Status
	if status.Phase != resticv1.PhaseCompleted || status.WarningCount < 3 || len(status.Warnings) == 0 {
		t.Errorf("the PodVolumeRestore is %s with %d warnings, want Completed with one for each file at least: %v",
			status.Phase, status.WarningCount, status.Warnings)
	}
	wantContains(t, "the PodVolumeRestore", strings.Join(status.Warnings, "\n"), "lchown", "operation not permitted")
	wantContains(t, "velero restore describe --details", veleroCLI(t, "restore", "describe", "squash", "--details"),
		"data: Completed, ", "warnings")
}

// mountRefusingOwners mounts a view of the folder in which nobody can set owners and permissions, and returns its path.
func mountRefusingOwners(t *testing.T, folder string) string {
	t.Helper()
	view := filepath.Join(filepath.Dir(folder), filepath.Base(folder)+"-view")
	if err := os.MkdirAll(view, 0o755); err != nil {
		t.Fatal(err)
	}
	deny := []string{"--chown-deny", "--chgrp-deny", "--chmod-deny", "-o", "allow_other"}
	out, err := exec.CommandContext(t.Context(), "bindfs", append(deny, folder, view)...).CombinedOutput()
	if err != nil {
		t.Fatalf("mounting a view of %s: %v: %s", folder, err, out)
	}
	t.Cleanup(func() {
		// The kubelet's mounts of it keep it alive for as long as the pod needs it.
		if err := unix.Unmount(view, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting %s: %v", view, err)
		}
	})
	return view
}
