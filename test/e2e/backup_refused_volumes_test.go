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

// skippedLimit is how long after the end of its backup or restore a volume may take to be called Skipped.
const skippedLimit = 30 * time.Second

func wantSkipped(status resticv1.VolumeStatus) error {
	if status.Phase != resticv1.PhaseSkipped {
		return fmt.Errorf("it is %q (%s)", status.Phase, status.Message)
	}
	return nil
}

// refusal is a pod with something wrong about it, and what users are told.
type refusal struct {
	pod *corev1.Pod
	// unready pods are not waited for.
	unready bool
	// volume is the one that cannot be taken. Empty: no volume of the pod is meant.
	volume string
	// says are the parts of the message: the object, and the remedy.
	says []string
	// takes are the volumes of the pod that are taken all the same.
	takes []string
}

// TestRefusedVolumes backs up a namespace in which all goes wrong that users can do wrong about a pod, and one of each goes
// right beside it.
func TestRefusedVolumes(t *testing.T) {
	t.Parallel()
	s := newScene(t, "refused", 0)
	cases := s.refusals()
	for _, refusal := range cases {
		apply(t, refusal.pod)
	}
	for _, refusal := range cases {
		if !refusal.unready {
			s.waitReady(refusal.pod.Name)
		}
	}
	s.waitPhase("over", corev1.PodSucceeded)
	s.shell("spaces", "echo content > /data/file; echo more > /cache/file")
	s.shell("host", "echo content > /cache/file")
	backup := backUp(t, "refused", "--include-namespaces=refused")
	if backup.Status.Phase != velerov1.BackupPhaseCompleted && backup.Status.Phase != velerov1.BackupPhasePartiallyFailed {
		t.Errorf("the backup is %s, want it to end with the rest in it", backup.Status.Phase)
	}
	told := 0
	for name, refusal := range cases {
		if len(refusal.says) > 0 {
			told++
		}
		t.Run(name, func(t *testing.T) { refusal.check(t, "refused") })
	}
	if got := backup.Status.Warnings + backup.Status.Errors; got != told {
		t.Errorf("the backup counts %d warnings and errors, want %d:\n%s", got, told,
			strings.Join(complaints(t, "backup", "refused"), "\n"))
	}
	t.Run("a restore brings back what was taken", func(t *testing.T) {
		in := &scene{t: t, namespace: s.namespace}
		in.deleteNamespace()
		wantRestored(t, restore(t, "refused", "refused"))
		in.waitReady("spaces")
		in.waitReady("host")
		got := in.shell("spaces", "cat /data/file /cache/file") + in.shell("host", "cat /cache/file")
		if want := "content\nmore\ncontent\n"; got != want {
			t.Errorf("the volumes hold %q, want %q", got, want)
		}
	})
}

func (s *scene) refusals() map[string]refusal {
	hostPath := corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{
		HostPath: &corev1.HostPathVolumeSource{Path: "/tmp"},
	}}
	unmounted := s.pod("unmounted", "data", emptyDir("data"))
	unmounted.Spec.Containers[0].VolumeMounts = nil
	pending := s.pod("pending", "data", emptyDir("data"))
	pending.Spec.NodeSelector = map[string]string{"no-such-label": "true"}
	over := s.pod("over", "data", emptyDir("data"))
	over.Spec.RestartPolicy = corev1.RestartPolicyNever
	over.Spec.Containers[0].Command = []string{"true"}
	empty := s.pod("empty", "", emptyDir("data"))
	empty.Annotations = map[string]string{contract.AnnotationVolumesToBackup: ""}
	const annotation = contract.AnnotationVolumesToBackup
	return map[string]refusal{
		"an annotation that names a volume which the pod lacks": {
			pod: s.pod("typo", "data,dta", emptyDir("data")), volume: "dta", takes: []string{"data"},
			says: []string{"pod refused/typo has no volume dta", annotation, "correct the name"},
		},
		"a hostPath volume": {
			pod: s.pod("host", "data,cache", hostPath, emptyDir("cache")), volume: "data", takes: []string{"cache"},
			says: []string{"volume data of pod refused/host cannot be backed up", "hostPath", "use a volume of type local"},
		},
		"an empty annotation": {
			pod: empty, says: []string{"pod refused/empty", annotation, "list names of the pod's volumes", "or remove it"},
		},
		"spaces and names that are there twice": {
			pod:   s.pod("spaces", " data , cache,,data ", emptyDir("data"), emptyDir("cache")),
			takes: []string{"data", "cache"},
		},
		"a volume that no container mounts": {
			pod: unmounted, volume: "data",
			says: []string{"volume data of pod refused/unmounted cannot be backed up", "no container mounts it", "mount it"},
		},
		"a pod that waits for a node": {
			pod: pending, unready: true, volume: "data",
			says: []string{"volume data of pod refused/pending", "not running (phase Pending)", "while the pod runs"},
		},
		"a pod that is over": {
			pod: over, unready: true, volume: "data",
			says: []string{"volume data of pod refused/over", "not running (phase Succeeded)", "while the pod runs"},
		},
	}
}

// check looks where users look: the log of the backup, its description, and the objects that kubectl prints.
func (r refusal) check(t *testing.T, backup string) {
	t.Helper()
	taken := podVolumeBackups(t, backup)
	for _, volume := range r.takes {
		status := taken[r.pod.Name+"/"+volume].Status
		if status.Phase != resticv1.PhaseCompleted {
			t.Errorf("volume %s is %q (%s), want Completed", volume, status.Phase, status.Message)
		}
	}
	if len(r.says) == 0 {
		return
	}
	var about []string
	for _, line := range complaints(t, "backup", backup) {
		if strings.Contains(line, r.says[0]) {
			about = append(about, line)
		}
	}
	if len(about) != 1 {
		t.Errorf("%d warnings and errors of the log say %q, want 1: %q", len(about), r.says[0], about)
	}
	wants(t, "velero backup logs", strings.Join(about, "\n"), r.says...)
	if r.volume == "" {
		return
	}
	var skipped resticv1.PodVolumeBackupStatus
	eventually(t, skippedLimit, "PodVolumeBackup of volume "+r.volume+" skipped", func() error {
		skipped = podVolumeBackups(t, backup)[r.pod.Name+"/"+r.volume].Status
		return wantSkipped(skipped.VolumeStatus)
	})
	wants(t, "the PodVolumeBackup", skipped.Message, r.says...)
	wants(t, "velero backup describe --details", veleroCLI(t, "backup", "describe", backup, "--details"),
		append([]string{r.volume + ": Skipped, "}, r.says...)...)
}

// TestBlockVolume backs up a claim that is a device. The device is a loop device of this machine.
func TestBlockVolume(t *testing.T) {
	needsNode(t)
	t.Parallel()
	s := newScene(t, "block", 0)
	s.class = s.namespace
	block := corev1.PersistentVolumeBlock
	volume := localVolume(t, suite.node, "block-1", s.class)
	volume.Spec.VolumeMode, volume.Spec.Local.Path = &block, loopDevice(t, "block")
	claim := s.claim("disk")
	claim.Spec.VolumeMode = &block
	pod := s.pod("db", "disk,cache", claimed("disk"), emptyDir("cache"))
	main := &pod.Spec.Containers[0]
	main.VolumeMounts = main.VolumeMounts[1:]
	main.VolumeDevices = []corev1.VolumeDevice{{Name: "disk", DevicePath: "/dev/disk"}}
	apply(t, localClass(s.class), volume, claim, pod)
	s.waitReady("db")
	backUp(t, "block", "--include-namespaces=block")
	refusal{
		pod: pod, volume: "disk", takes: []string{"cache"},
		says: []string{"volume disk of pod block/db (claim disk)", "it is a block volume", "with snapshots"},
	}.check(t, "block")
}

// loopDevice makes a block device of 16 MiB, whose content is in a file of that name.
func loopDevice(t *testing.T, name string) string {
	t.Helper()
	file := filepath.Join(suite.node.State(), name)
	if err := os.WriteFile(file, make([]byte, 16<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "losetup", "--find", "--show", file).CombinedOutput()
	if err != nil {
		t.Fatalf("making a loop device: %v: %s", err, out)
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
	t.Parallel()
	s := newScene(t, "hostpath", 0)
	s.class = s.namespace
	volume := localVolume(t, suite.node, "hostpath-1", s.class)
	volume.Spec.HostPath, volume.Spec.Local = &corev1.HostPathVolumeSource{Path: volume.Spec.Local.Path}, nil
	pod := s.pod("web", "data", claimed("data"))
	apply(t, localClass(s.class), volume, s.claim("data"), pod)
	s.waitReady("web")
	backUp(t, "hostpath", "--include-namespaces=hostpath")
	refusal{
		pod: pod, volume: "data",
		says: []string{
			"volume data of pod hostpath/web (claim data)", "PersistentVolume hostpath-1 is a hostPath volume",
			"use a volume of type local",
		},
	}.check(t, "hostpath")
}

// waitPhase waits until the pod's phase is this one.
func (s *scene) waitPhase(pod string, phase corev1.PodPhase) {
	s.t.Helper()
	kubectl(s.t, "-n", s.namespace, "wait", "pod/"+pod, "--for=jsonpath={.status.phase}="+string(phase), "--timeout=60s")
}
