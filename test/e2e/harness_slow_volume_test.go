// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// slowRate is how many bytes of a slow volume can be read in a second.
const slowRate = 2 << 20

// createSlowPod creates pod web with claim data, whose files can only be read at slowRate. A backup of it takes as long
// as a test needs, and no processor time. The directory that it returns has the same files, without the limit.
func (ns *testNamespace) createSlowPod() (directory string) {
	ns.t.Helper()
	ns.storageClass = ns.name
	volume := localVolume(ns.t, clusterOf(ns.t).node, ns.name+"-slow", ns.storageClass)
	directory = volume.Spec.Local.Path
	volume.Spec.Local.Path = mountView(ns.t, directory, fmt.Sprintf("--read-rate=%d", slowRate))
	apply(ns.t, localStorageClass(ns.storageClass), volume, ns.claim("data"), ns.pod("web", "data", claimVolume("data")))
	ns.waitReady("web")
	return directory
}

// writeRandomFile writes so many bytes that restic cannot compress.
func writeRandomFile(t *testing.T, file string, bytes int) {
	t.Helper()
	content := make([]byte, bytes)
	_, _ = rand.Read(content) // it never fails
	if err := os.WriteFile(file, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// mountView mounts a view of a directory with options of bindfs, and returns its path.
func mountView(t *testing.T, directory string, options ...string) string {
	t.Helper()
	view := directory + "-view"
	if err := os.MkdirAll(view, 0o755); err != nil {
		t.Fatal(err)
	}
	args := append(options, "-o", "allow_other", directory, view)
	if out, err := exec.CommandContext(t.Context(), "bindfs", args...).CombinedOutput(); err != nil {
		t.Fatalf("mounting a view of %s: %v: %s", directory, err, out)
	}
	t.Cleanup(func() {
		// The mounts of the kubelet keep the view alive for as long as the pod needs it.
		if err := unix.Unmount(view, unix.MNT_DETACH); err != nil {
			t.Errorf("unmounting %s: %v", view, err)
		}
	})
	return view
}
