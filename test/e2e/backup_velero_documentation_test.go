// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"regexp"
	"strings"
	"testing"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/test/fixture"
)

// samplePod is the pod of Velero's page, with an image that the cluster has and a program that keeps running.
const samplePod = `
apiVersion: v1
kind: Pod
metadata:
  name: sample
  namespace: foo
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - image: busybox:stable
    name: main
    command: [sleep, infinity]
    volumeMounts:
    - name: pvc-volume
      mountPath: /volume-1
    - name: emptydir-volume
      mountPath: /volume-2
  volumes:
  - name: pvc-volume
    persistentVolumeClaim:
      claimName: test-volume-claim
  - name: emptydir-volume
    emptyDir: {}
`

// TestVeleroDocumentation follows "To back up" and "To restore" of Velero's page on its restic integration, command by
// command, with volumes that are hard to back up. Its backup and restore include all namespaces.
func TestVeleroDocumentation(t *testing.T) {
	reserveCluster(t)
	ns := newNamespace(t, "foo", 2)
	apply(t, ns.claim("test-volume-claim"), samplePod)
	ns.waitReady("sample")
	paths := []string{"/volume-1", "/volume-2"}
	before := map[string][]fixture.Entry{}
	for _, path := range paths {
		ns.fillVolume("sample", path)
		before[path] = ns.recordVolume("sample", path)
	}
	bound := ns.boundVolume("test-volume-claim")

	kubectl(t, strings.Fields(
		"-n foo annotate pod/sample backup.velero.io/backup-volumes=pvc-volume,emptydir-volume")...)
	backup := backUp(t, "document")
	t.Run("the backup is completed, and velero and kubectl show its volumes", func(t *testing.T) {
		wantCompleted(t, backup)
		checkBackupOutput(t)
	})

	ns.delete()
	output := veleroCLI(t, strings.Fields("restore create --from-backup document")...)
	name := regexp.MustCompile(`document-[0-9]+`).FindString(output)
	result := waitRestore(t, name)
	ns.waitReady("sample")
	t.Run("the restore is completed, and velero and kubectl show its volumes", func(t *testing.T) {
		wantRestored(t, result)
		checkRestoreOutput(t, name)
	})
	t.Run("the claim has a new volume", func(t *testing.T) {
		if now := ns.boundVolume("test-volume-claim"); now == bound {
			t.Errorf("it is bound to %s again, want another volume", now)
		}
	})
	t.Run("no output contains the password", func(t *testing.T) { checkPasswordHidden(t, name) })
	for _, path := range paths {
		t.Run("the volume at "+path+" has the same files", func(t *testing.T) {
			in := ns.in(t)
			in.waitMarkerRemoved("sample", path)
			wantSameFiles(t, path, before[path], in.recordVolume("sample", path))
		})
	}
}

// checkPasswordHidden looks for the password of the repositories in logs and objects.
func checkPasswordHidden(t *testing.T, restore string) {
	t.Helper()
	secret := password(t)
	for what, text := range map[string]string{
		"the agent's log":   kubectl(t, "-n", "velero", "logs", "daemonset/restic", "--tail=-1"),
		"the server's log":  kubectl(t, "-n", "velero", "logs", "deployment/velero", "--tail=-1"),
		"the backup's log":  veleroCLI(t, "backup", "logs", "document"),
		"the restore's log": veleroCLI(t, "restore", "logs", restore),
		"the objects":       kubectl(t, "-n", "velero", "get", customResources, "-o", "yaml"),
		"the events":        kubectl(t, "get", "events", "--all-namespaces", "-o", "yaml"),
		"the agent's pod":   kubectl(t, "-n", "velero", "get", "pods", "-l", "name=restic", "-o", "yaml"),
	} {
		if len(text) < 100 {
			t.Errorf("%s is %q: too short to be the whole", what, text)
		}
		if strings.Contains(text, secret) {
			t.Errorf("%s contains the password", what)
		}
	}
}

func checkBackupOutput(t *testing.T) {
	t.Helper()
	described := veleroCLI(t, strings.Fields("backup describe document")...)
	wantContains(t, "velero backup describe", described, "Phase:  Completed")
	details := veleroCLI(t, strings.Fields("backup describe document --details")...)
	wantContains(t, "velero backup describe --details", details, "Backup Item Operations:",
		"Operation for pods foo/sample:", "Backup Item Action Plugin:  velero.io/restic", "pvc-volume: Completed, ",
		"emptydir-volume: Completed, ", "MiB")
	list := kubectlYAML[resticv1.PodVolumeBackupList](t,
		"-n velero get podvolumebackups -l velero.io/backup-name=document -o yaml")
	taken := map[string]bool{}
	for _, item := range list.Items {
		taken[item.Spec.Volume] = true
		if item.APIVersion != "restic.velero.io/v1" || item.Status.Phase != resticv1.PhaseCompleted {
			t.Errorf("PodVolumeBackup %s of %s is %q (%s), want restic.velero.io/v1, Completed",
				item.Name, item.APIVersion, item.Status.Phase, item.Status.Message)
		}
		if p := item.Status.Progress; p.BytesDone < 300<<20 || p.BytesDone != p.TotalBytes {
			t.Errorf("PodVolumeBackup %s has done %d of %d bytes, want all of more than 300 MiB", item.Name, p.BytesDone,
				p.TotalBytes)
		}
	}
	if len(list.Items) != 2 || !taken["pvc-volume"] || !taken["emptydir-volume"] {
		t.Errorf("kubectl prints %d PodVolumeBackups of %v, want one of each volume", len(list.Items), taken)
	}
}

func checkRestoreOutput(t *testing.T, name string) {
	t.Helper()
	described := veleroCLI(t, strings.Fields("restore describe "+name)...)
	wantContains(t, "velero restore describe", described, "Phase:", "Completed")
	details := veleroCLI(t, strings.Fields("restore describe --details "+name)...)
	wantContains(t, "velero restore describe --details", details, "Operation for pods foo/sample:",
		"Restore Item Action Plugin:  velero.io/restic", "pvc-volume: Completed, ", "emptydir-volume: Completed, ")
	list := kubectlYAML[resticv1.PodVolumeRestoreList](t,
		"-n velero get podvolumerestores -l velero.io/restore-name="+name+" -o yaml")
	for _, item := range list.Items {
		if item.APIVersion != "restic.velero.io/v1" || item.Status.Phase != resticv1.PhaseCompleted {
			t.Errorf("PodVolumeRestore %s of %s is %q (%s), want restic.velero.io/v1, Completed",
				item.Name, item.APIVersion, item.Status.Phase, item.Status.Message)
		}
	}
	if len(list.Items) != 2 {
		t.Errorf("kubectl prints %d PodVolumeRestores, want 2", len(list.Items))
	}
}
