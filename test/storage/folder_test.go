// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package storage

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestFolder mounts a storage, and does not.
func TestFolder(t *testing.T) {
	t.Parallel()
	storage := t.TempDir()
	newFolder := func(t *testing.T) *world {
		w := newWorld(t, elsewhere(filepath.Join(storage, "restic")))
		w.mountInfo = "/proc/self/mountinfo"
		return w
	}
	w := newFolder(t)
	w.refused("is not there", "volumeMount")

	// Mounted over the test's own folder, the storage is one of memory.
	if said, err := exec.Command("mount", "-t", "tmpfs", "storage", storage).CombinedOutput(); err != nil {
		t.Fatalf("mounting: %v: %s", err, said)
	}
	unmount := func() {
		if said, err := exec.Command("umount", storage).CombinedOutput(); err != nil {
			t.Errorf("unmounting: %v: %s", err, said)
		}
	}
	w.refused("is not there", "make the folder on it")
	makeFolder(t, storage, "restic")
	w.cycle()
	if w.knownID == "" {
		t.Fatal("nothing was made")
	}
	unmount()
	w.refused("is not there")
	makeFolder(t, storage, "restic")
	w.refused("on the container's own disk")
	if left, err := os.ReadDir(filepath.Join(storage, "restic")); err != nil || len(left) > 0 {
		t.Errorf("in the folder below the mount are %v, %v", left, err)
	}
}
