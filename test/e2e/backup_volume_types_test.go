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

// TestVolumeTypes backs up a pod with a volume of every kind, mounted in every way, and a pod that may only read one of
// them, and restores both.
func TestVolumeTypes(t *testing.T) {
	t.Parallel()
	s := newCSIScene(t, "kinds")
	s.provideClass("kinds-keep", corev1.PersistentVolumeReclaimRetain, storagev1.VolumeBindingImmediate)
	apply(t, s.claim("data"), s.claimOf("kinds-keep", "keep"), s.claim("parts"), s.everyKind())
	s.waitReady("web")
	s.shell("web", `
		for v in data keep parts disk memory scratch; do echo content of $v > /$v/file; done
		chown 1234:4321 /data; chmod 2770 /data
		mkdir -p /data/lost+found /data/.velero /data/sub/lost+found
		touch /data/lost+found/1 /data/.velero/1 /data/sub/lost+found/1`)
	apply(t, s.reader())
	s.waitReady("reader")
	kept := s.boundTo("keep")
	s.removeVolumeAtEnd(kept)

	wantComplete(t, backUp(t, "kinds", "--include-namespaces=kinds"))
	s.checkFolders("kinds")
	s.deleteNamespace()
	wantRestored(t, restore(t, "kinds", "kinds"))
	s.waitReady("web")
	s.waitReady("reader")
	s.waitUnmarked("web", "/data")
	s.checkContent()
	if now := s.boundTo("keep"); now == kept {
		t.Errorf("claim keep is bound to %s again, want a fresh volume", now)
	} else {
		s.removeVolumeAtEnd(now)
	}
	old := get[corev1.PersistentVolume](t, "persistentvolume", kept).Status
	if old.Phase != corev1.VolumeReleased {
		t.Errorf("the volume that is to be retained is %s, want it left alone as Released", old.Phase)
	}
}

// everyKind is a pod that has each kind of volume. Of parts it sees only a folder; early is only an init container's,
// and late only a sidecar's.
func (s *scene) everyKind() *corev1.Pod {
	pod := s.pod("web", "data,keep,parts,disk,memory,scratch,early,late", claimed("data"), claimed("keep"),
		claimed("parts"), emptyDir("disk"), inMemory("memory"), s.ephemeral("scratch"), emptyDir("early"),
		emptyDir("late"))
	main := &pod.Spec.Containers[0]
	main.VolumeMounts = main.VolumeMounts[:6]
	main.VolumeMounts[2].SubPath = "folder"
	pod.Spec.InitContainers = []corev1.Container{
		{
			Name: "early", Image: node.BusyboxImage, VolumeMounts: []corev1.VolumeMount{mount("early")},
			Command: []string{"sh", "-c", "cat /early/file; echo content of early > /early/file"},
		},
		{
			Name: "late", Image: node.BusyboxImage, VolumeMounts: []corev1.VolumeMount{mount("late")},
			Command:       []string{"sh", "-c", "[ -e /late/file ] || echo content of late > /late/file; sleep infinity"},
			RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways),
		},
	}
	return pod
}

// reader is a pod that gets the claim data from the kubelet for reading only.
func (s *scene) reader() *corev1.Pod {
	volume := claimed("data")
	volume.PersistentVolumeClaim.ReadOnly = true
	return s.pod("reader", "data", volume)
}

// checkFolders looks whether each volume was read once, and CSI volumes in their folder "mount".
func (s *scene) checkFolders(backup string) {
	s.t.Helper()
	names := []string{"keep", "parts", "disk", "memory", "scratch", "early", "late"}
	volumes := make([]string, 0, len(names)+1)
	for _, name := range names {
		volumes = append(volumes, "web/"+name)
	}
	taker := "web/data"
	taken := podVolumeBackups(s.t, backup)
	if _, byReader := taken["reader/data"]; byReader {
		taker = "reader/data"
	}
	taken = wantTaken(s.t, backup, append(volumes, taker)...)
	for volume, folder := range map[string]string{
		taker: "kubernetes.io~csi/" + s.boundTo("data") + "/mount", "web/disk": "kubernetes.io~empty-dir/disk",
		"web/scratch": "kubernetes.io~csi/" + s.boundTo("web-scratch") + "/mount",
	} {
		if path := taken[volume].Status.Path; !strings.HasSuffix(path, folder) {
			s.t.Errorf("volume %s was read at %s, want %s", volume, path, folder)
		}
	}
}

func (s *scene) checkContent() {
	s.t.Helper()
	var want strings.Builder
	for _, volume := range []string{"data", "keep", "parts", "disk", "memory", "scratch"} {
		want.WriteString("content of " + volume + "\n")
	}
	got := s.shell("web", "for v in data keep parts disk memory scratch; do cat /$v/file; done")
	if got != want.String() {
		s.t.Errorf("the volumes hold %q, want %q", got, want.String())
	}
	in := []string{"-n", s.namespace}
	if got := kubectl(s.t, append(in, "logs", "web", "-c", "early")...); got != "content of early\n" {
		s.t.Errorf("the pod's own init container has found %q, want the restored file", got)
	}
	if got := kubectl(s.t, append(in, "exec", "web", "-c", "late", "--", "cat", "/late/file")...); got !=
		"content of late\n" {
		s.t.Errorf("the sidecar's volume holds %q, want what it wrote", got)
	}
	const root = "1234:4321 2770\nfile\nsub\n1\n"
	if got := s.shell("web", "stat -c '%u:%g %a' /data; ls -A /data; ls -A /data/sub/lost+found"); got != root {
		s.t.Errorf("the claim's root is %q, want %q, without lost+found and .velero", got, root)
	}
	if got := s.shell("reader", "cat /data/file; touch /data/new 2>&1 || true"); !strings.HasPrefix(
		got, "content of data\n") || !strings.Contains(got, "Read-only file system") {
		s.t.Errorf("the pod that may only read says %q, want the content and a refusal to write", got)
	}
}

// removeVolumeAtEnd removes a volume that outlives its claim.
func (s *scene) removeVolumeAtEnd(name string) {
	s.t.Cleanup(func() {
		_, err := tryKubectl(s.t, "delete", "persistentvolume", name, "--ignore-not-found", "--timeout=30s", "--wait=false")
		if err != nil {
			s.t.Error("cleaning up:", err)
		}
	})
}
