// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// skippedLimit is how long after its backup or restore a volume may take to become Skipped.
const skippedLimit = 30 * time.Second

func wantSkipped(status resticv1.VolumeStatus) error {
	if status.Phase != resticv1.PhaseSkipped {
		return fmt.Errorf("its phase is %q (%s)", status.Phase, status.Message)
	}
	return nil
}

// podWithMistake is a pod with a mistake of a user, and what the backup reports.
type podWithMistake struct {
	pod *corev1.Pod
	// unready is set for a pod that does not become ready.
	unready bool
	// volume is the volume that cannot be backed up; empty if the mistake is none of a volume.
	volume string
	// message is the parts of the warning: the object, and what to do. Empty: there is no warning.
	message []string
	// backedUp are the volumes of the pod that are backed up nevertheless.
	backedUp []string
}

// TestRefusedVolumes backs up a namespace with each mistake that a user can make with a pod, and with volumes that can
// be backed up beside the mistakes.
func TestRefusedVolumes(t *testing.T) {
	shareCluster(t)
	ns := newNamespace(t, "refused", 0)
	cases := ns.podsWithMistakes()
	var pods []any
	for _, mistake := range cases {
		pods = append(pods, mistake.pod)
	}
	apply(t, pods...)
	for _, mistake := range cases {
		if !mistake.unready {
			ns.waitReady(mistake.pod.Name)
		}
	}
	ns.waitPhase("over", corev1.PodSucceeded)
	ns.shell("spaces", "echo content > /data/file; echo more > /cache/file")
	ns.shell("host", "echo content > /cache/file")
	backup := backUp(t, "refused", "--include-namespaces=refused")
	if backup.Status.Phase != velerov1.BackupPhaseCompleted && backup.Status.Phase != velerov1.BackupPhasePartiallyFailed {
		t.Errorf("the backup is %s, want Completed or PartiallyFailed", backup.Status.Phase)
	}
	warnings := 0
	for name, mistake := range cases {
		if len(mistake.message) > 0 {
			warnings++
		}
		t.Run(name, func(t *testing.T) { mistake.check(t, "refused") })
	}
	if got := backup.Status.Warnings + backup.Status.Errors; got != warnings {
		t.Errorf("the backup counts %d warnings and errors, want %d:\n%s", got, warnings,
			strings.Join(warningsAndErrors(t, "backup", "refused"), "\n"))
	}
	t.Run("a restore brings back what was backed up", func(t *testing.T) {
		in := ns.in(t)
		in.delete()
		wantRestored(t, restore(t, "refused", "refused"))
		in.waitReady("spaces")
		in.waitReady("host")
		got := in.shell("spaces", "cat /data/file /cache/file") + in.shell("host", "cat /cache/file")
		if want := "content\nmore\ncontent\n"; got != want {
			t.Errorf("the volumes hold %q, want %q", got, want)
		}
	})
}

func (ns *testNamespace) podsWithMistakes() map[string]podWithMistake {
	hostPath := corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{
		HostPath: &corev1.HostPathVolumeSource{Path: "/tmp"},
	}}
	unmounted := ns.pod("unmounted", "data", emptyDir("data"))
	unmounted.Spec.Containers[0].VolumeMounts = nil
	pending := ns.pod("pending", "data", emptyDir("data"))
	pending.Spec.NodeSelector = map[string]string{"no-such-label": "true"}
	over := ns.pod("over", "data", emptyDir("data"))
	over.Spec.RestartPolicy = corev1.RestartPolicyNever
	over.Spec.Containers[0].Command = []string{"true"}
	empty := ns.pod("empty", "", emptyDir("data"))
	empty.Annotations = map[string]string{contract.AnnotationVolumesToBackup: ""}
	const annotation = contract.AnnotationVolumesToBackup
	return map[string]podWithMistake{
		"an annotation that names a volume which the pod lacks": {
			pod: ns.pod("typo", "data,dta", emptyDir("data")), volume: "dta", backedUp: []string{"data"},
			message: []string{"pod refused/typo has no volume dta", annotation, "correct the name"},
		},
		"a hostPath volume": {
			pod: ns.pod("host", "data,cache", hostPath, emptyDir("cache")), volume: "data", backedUp: []string{"cache"},
			message: []string{"volume data of pod refused/host cannot be backed up", "hostPath", "use a volume of type local"},
		},
		"an empty annotation": {
			pod: empty, message: []string{"pod refused/empty", annotation, "list names of the pod's volumes", "or remove it"},
		},
		"spaces, and names that occur twice": {
			pod:      ns.pod("spaces", " data , cache,,data ", emptyDir("data"), emptyDir("cache")),
			backedUp: []string{"data", "cache"},
		},
		"a volume that no container mounts": {
			pod: unmounted, volume: "data",
			message: []string{"volume data of pod refused/unmounted cannot be backed up", "no container mounts it", "mount it"},
		},
		"a pod that waits for a node": {
			pod: pending, unready: true, volume: "data",
			message: []string{"volume data of pod refused/pending", "not running (phase Pending)", "while the pod runs"},
		},
		"a pod that has completed": {
			pod: over, unready: true, volume: "data",
			message: []string{"volume data of pod refused/over", "not running (phase Succeeded)", "while the pod runs"},
		},
	}
}

// check reads what users read: the log of the backup, its description, and the objects that kubectl prints.
func (mistake podWithMistake) check(t *testing.T, backup string) {
	t.Helper()
	taken := podVolumeBackups(t, backup)
	for _, volume := range mistake.backedUp {
		status := taken[mistake.pod.Name+"/"+volume].Status
		if status.Phase != resticv1.PhaseCompleted {
			t.Errorf("volume %s is %q (%s), want Completed", volume, status.Phase, status.Message)
		}
	}
	if len(mistake.message) == 0 {
		return
	}
	var about []string
	for _, line := range warningsAndErrors(t, "backup", backup) {
		if strings.Contains(line, mistake.message[0]) {
			about = append(about, line)
		}
	}
	if len(about) != 1 {
		t.Errorf("%d warnings and errors of the log contain %q, want 1: %q", len(about), mistake.message[0], about)
	}
	wantContains(t, "velero backup logs", strings.Join(about, "\n"), mistake.message...)
	if mistake.volume == "" {
		return
	}
	var skipped resticv1.PodVolumeBackupStatus
	eventually(t, skippedLimit, "PodVolumeBackup of volume "+mistake.volume+" skipped", func() error {
		skipped = podVolumeBackups(t, backup)[mistake.pod.Name+"/"+mistake.volume].Status
		return wantSkipped(skipped.VolumeStatus)
	})
	wantContains(t, "the PodVolumeBackup", skipped.Message, mistake.message...)
	wantContains(t, "velero backup describe --details", veleroCLI(t, "backup", "describe", backup, "--details"),
		append([]string{mistake.volume + ": Skipped, "}, mistake.message...)...)
}

// TestBlockVolume backs up a claim of mode Block. The device is a loop device of this machine.
func TestBlockVolume(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	ns := newNamespace(t, "block", 0)
	ns.storageClass = ns.name
	block := corev1.PersistentVolumeBlock
	volume := localVolume(t, clusterOf(t).node, "block-1", ns.storageClass)
	volume.Spec.VolumeMode, volume.Spec.Local.Path = &block, loopDevice(t, "block")
	claim := ns.claim("disk")
	claim.Spec.VolumeMode = &block
	pod := ns.pod("db", "disk,cache", claimVolume("disk"), emptyDir("cache"))
	main := &pod.Spec.Containers[0]
	main.VolumeMounts = main.VolumeMounts[1:]
	main.VolumeDevices = []corev1.VolumeDevice{{Name: "disk", DevicePath: "/dev/disk"}}
	apply(t, localStorageClass(ns.storageClass), volume, claim, pod)
	ns.waitReady("db")
	backUp(t, "block", "--include-namespaces=block")
	podWithMistake{
		pod: pod, volume: "disk", backedUp: []string{"cache"},
		message: []string{"volume disk of pod block/db (claim disk)", "it is a block volume", "with snapshots"},
	}.check(t, "block")
}

// loopDevice creates a block device of 16 MiB, whose content is in a file with this name.
func loopDevice(t *testing.T, name string) string {
	t.Helper()
	file := filepath.Join(clusterOf(t).node.State(), name)
	if err := os.WriteFile(file, make([]byte, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "losetup", "--find", "--show", file).CombinedOutput()
	if err != nil {
		t.Fatalf("creating a loop device: %v: %s", err, out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("removing %s: %v: %s", device, err, out)
		}
	})
	return device
}

// TestHostPathThroughClaim backs up a claim whose PersistentVolume is a hostPath.
func TestHostPathThroughClaim(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	ns := newNamespace(t, "hostpath", 0)
	ns.storageClass = ns.name
	volume := localVolume(t, clusterOf(t).node, "hostpath-1", ns.storageClass)
	volume.Spec.HostPath, volume.Spec.Local = &corev1.HostPathVolumeSource{Path: volume.Spec.Local.Path}, nil
	pod := ns.pod("web", "data", claimVolume("data"))
	apply(t, localStorageClass(ns.storageClass), volume, ns.claim("data"), pod)
	ns.waitReady("web")
	backUp(t, "hostpath", "--include-namespaces=hostpath")
	podWithMistake{
		pod: pod, volume: "data",
		message: []string{
			"volume data of pod hostpath/web (claim data)", "PersistentVolume hostpath-1 is a hostPath volume",
			"use a volume of type local",
		},
	}.check(t, "hostpath")
}
