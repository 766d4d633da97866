// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package hostpath

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// withoutPrivileges takes this thread's right to look everywhere, which tests as root have, until the test ends.
func withoutPrivileges(t *testing.T) {
	t.Helper()
	const nobody = 65534
	runtime.LockOSThread()
	if _, err := unix.SetfsuidRetUid(nobody); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := unix.SetfsuidRetUid(os.Geteuid()); err != nil {
			t.Error(err)
		}
		runtime.UnlockOSThread()
	})
}

const containerLabel = "system_u:system_r:container_t:s0:c12,c34"

// TestDenied closes one folder after the other on the way to a volume, as SELinux does for the agent.
func TestDenied(t *testing.T) {
	for name, closed := range map[string]string{
		"the kubelet's folder":   "",
		"the pod's folder":       podUID,
		"the folder of volumes":  podUID + "/volumes",
		"the plugin's folder":    podUID + "/volumes/kubernetes.io~csi",
		"the volume's directory": podUID + "/volumes/kubernetes.io~csi/pvc-1",
	} {
		for label, says := range map[string]string{
			containerLabel: "SELinux keeps the agent, whose label is " + containerLabel + ",",
			"":             "DAC_READ_SEARCH",
		} {
			t.Run(name+" with label "+label, func(t *testing.T) {
				root := t.TempDir()
				makeDirs(t, root, podUID+"/volumes/kubernetes.io~csi/pvc-1/mount")
				shut := filepath.Join(root, closed)
				if err := os.Chmod(shut, 0); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := os.Chmod(shut, 0o755); err != nil { //nolint:gosec // so that it can be removed
						t.Error(err)
					}
				})
				withoutPrivileges(t)
				finder := Finder{Root: root, mounted: always, Label: func() string { return label }}
				_, err := finder.Find(csiClaim())
				if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), says) {
					t.Errorf("finding the volume: %v, want it to say %q", err, says)
				}
				if closed != "" {
					return
				}
				err = finder.PodVolumesRootOK([]string{podUID})
				if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), says) {
					t.Errorf("looking for pods: %v, want it to say %q", err, says)
				}
				if err := finder.PodVolumesRootOK(nil); !errors.Is(err, fs.ErrPermission) {
					t.Errorf("looking without pods: %v", err)
				}
			})
		}
	}
}

func TestConfinement(t *testing.T) {
	for label, want := range map[string]string{
		"":                                    "",
		"unconfined":                          "",
		"cri-containerd.apparmor.d (enforce)": "",
		"system_u:system_r:spc_t:s0":          "",
		"unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023": "",
		containerLabel: "examples/selinux, or on OpenShift with examples/openshift",
	} {
		got := Finder{Label: func() string { return label }}.Confinement()
		if (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%q: got %q", label, got)
		}
	}
	if got := ownLabel(); strings.ContainsAny(got, "\x00\n") {
		t.Errorf("this process's label is %q", got)
	}
}
