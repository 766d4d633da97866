// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/utils/ptr"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/node"
)

// TestVolumeTypes backs up and restores a pod with a volume of each type, mounted in each way, and a second pod that
// mounts one of the volumes read-only.
func TestVolumeTypes(t *testing.T) {
	shareCluster(t)
	ns := newCSINamespace(t, "kinds")
	ns.createStorageClass("kinds-keep", corev1.PersistentVolumeReclaimRetain, storagev1.VolumeBindingImmediate)
	apply(t, ns.claim("data"), ns.claimOfClass("kinds-keep", "keep"), ns.claim("parts"), ns.podWithEveryVolumeType())
	ns.waitReady("web")
	ns.shell("web", `
		for v in data keep parts disk memory scratch; do echo content of $v > /$v/file; done
		chown 1234:4321 /data; chmod 2770 /data
		mkdir -p /data/lost+found /data/.velero /data/sub/lost+found
		touch /data/lost+found/1 /data/.velero/1 /data/sub/lost+found/1`)
	apply(t, ns.readOnlyPod())
	ns.waitReady("reader")
	kept := ns.boundVolume("keep")
	ns.deleteVolumeAtEnd(kept)

	wantCompleted(t, backUp(t, "kinds", "--include-namespaces=kinds"))
	ns.checkFolders("kinds")
	ns.delete()
	wantRestored(t, restore(t, "kinds", "kinds"))
	ns.waitReady("web")
	ns.waitReady("reader")
	ns.waitMarkerRemoved("web", "/data")
	ns.checkContent()
	if now := ns.boundVolume("keep"); now == kept {
		t.Errorf("claim keep is bound to %s again, want a new volume", now)
	} else {
		ns.deleteVolumeAtEnd(now)
	}
	old := get[corev1.PersistentVolume](t, "", kept).Status
	if old.Phase != corev1.VolumeReleased {
		t.Errorf("the retained volume is %s, want Released", old.Phase)
	}
}

// podWithEveryVolumeType has a volume of each type. It mounts only a directory of parts; only an init container mounts
// early, and only a sidecar mounts late.
func (ns *testNamespace) podWithEveryVolumeType() *corev1.Pod {
	pod := ns.pod("web", "data,keep,parts,disk,memory,scratch,early,late", claimVolume("data"), claimVolume("keep"),
		claimVolume("parts"), emptyDir("disk"), memoryVolume("memory"), ns.ephemeralVolume("scratch"), emptyDir("early"),
		emptyDir("late"))
	main := &pod.Spec.Containers[0]
	main.VolumeMounts = main.VolumeMounts[:6]
	main.VolumeMounts[2].SubPath = "folder"
	pod.Spec.InitContainers = []corev1.Container{
		{
			Name: "early", Image: node.BusyboxImage, VolumeMounts: []corev1.VolumeMount{mountOf("early")},
			Command: []string{"sh", "-c", "cat /early/file; echo content of early > /early/file"},
		},
		{
			Name: "late", Image: node.BusyboxImage, VolumeMounts: []corev1.VolumeMount{mountOf("late")},
			Command:       []string{"sh", "-c", "[ -e /late/file ] || echo content of late > /late/file; sleep infinity"},
			RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways),
		},
	}
	return pod
}

// readOnlyPod is a pod with a read-only volume of claim data.
func (ns *testNamespace) readOnlyPod() *corev1.Pod {
	volume := claimVolume("data")
	volume.PersistentVolumeClaim.ReadOnly = true
	return ns.pod("reader", "data", volume)
}

// checkFolders wants each volume to be read once, and CSI volumes in their directory "mount".
func (ns *testNamespace) checkFolders(backup string) {
	ns.t.Helper()
	names := []string{"keep", "parts", "disk", "memory", "scratch", "early", "late"}
	volumes := make([]string, 0, len(names)+1)
	for _, name := range names {
		volumes = append(volumes, "web/"+name)
	}
	taker := "web/data"
	taken := podVolumeBackups(ns.t, backup)
	if _, byReader := taken["reader/data"]; byReader {
		taker = "reader/data"
	}
	taken = wantBackedUp(ns.t, backup, append(volumes, taker)...)
	for volume, folder := range map[string]string{
		taker: "kubernetes.io~csi/" + ns.boundVolume("data") + "/mount", "web/disk": "kubernetes.io~empty-dir/disk",
		"web/scratch": "kubernetes.io~csi/" + ns.boundVolume("web-scratch") + "/mount",
	} {
		if path := taken[volume].Status.Path; !strings.HasSuffix(path, folder) {
			ns.t.Errorf("volume %s was read at %s, want %s", volume, path, folder)
		}
	}
}

func (ns *testNamespace) checkContent() {
	ns.t.Helper()
	var want strings.Builder
	for _, volume := range []string{"data", "keep", "parts", "disk", "memory", "scratch"} {
		want.WriteString("content of " + volume + "\n")
	}
	got := ns.shell("web", "for v in data keep parts disk memory scratch; do cat /$v/file; done")
	if got != want.String() {
		ns.t.Errorf("the volumes hold %q, want %q", got, want.String())
	}
	in := []string{"-n", ns.name}
	if got := kubectl(ns.t, append(in, "logs", "web", "-c", "early")...); got != "content of early\n" {
		ns.t.Errorf("the pod's own init container read %q, want the restored file", got)
	}
	if got := kubectl(ns.t, append(in, "exec", "web", "-c", "late", "--", "cat", "/late/file")...); got !=
		"content of late\n" {
		ns.t.Errorf("the sidecar's volume holds %q, want what the sidecar wrote", got)
	}
	const root = "1234:4321 2770\nfile\nsub\n1\n"
	if got := ns.shell("web", "stat -c '%u:%g %a' /data; ls -A /data; ls -A /data/sub/lost+found"); got != root {
		ns.t.Errorf("the root of the claim is %q, want %q, without lost+found and .velero", got, root)
	}
	if got := ns.shell("reader", "cat /data/file; touch /data/new 2>&1 || true"); !strings.HasPrefix(
		got, "content of data\n") || !strings.Contains(got, "Read-only file system") {
		ns.t.Errorf("the read-only pod printed %q, want the content, and an error when it writes", got)
	}
}

// deleteVolumeAtEnd deletes a volume that outlives its claim when the test ends.
func (ns *testNamespace) deleteVolumeAtEnd(name string) {
	ns.t.Cleanup(func() {
		_, err := tryKubectl(ns.t, "delete", "persistentvolume", name, "--ignore-not-found", "--wait=false")
		if err != nil {
			ns.t.Error("cleaning up:", err)
		}
	})
}
