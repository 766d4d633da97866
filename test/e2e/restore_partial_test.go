// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"strconv"
	"strings"
	"testing"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
)

// sparseSize is the size in KiB of a file that consists of one hole.
const sparseSize = 64 << 10

// TestPartialRestore restores parts of a backup: a pod over newer files in its claim, claims without their pods, and
// then the pods with their claims.
func TestPartialRestore(t *testing.T) {
	shareCluster(t)
	ns := newCSINamespace(t, "parts")
	web, other := ns.pod("web", "data", claimVolume("data")), ns.pod("other", "cache", emptyDir("cache"))
	web.Labels, other.Labels = map[string]string{"app": "web"}, map[string]string{"app": "other"}
	apply(t, ns.claim("data"), web, other)
	ns.waitReady("web")
	ns.waitReady("other")
	ns.shell("web", "cd /data; echo old > file; echo old > gone; truncate -s "+strconv.Itoa(sparseSize)+"k hole")
	ns.shell("other", "echo old > /cache/file")
	wantCompleted(t, backUp(t, "parts", "--include-namespaces=parts"))

	t.Run("a pod selected by label, over newer files", func(t *testing.T) {
		ns.in(t).checkRestoreOverNewerFiles()
	})
	ns.delete()
	t.Run("claims without pods are empty, and Velero reports it", func(t *testing.T) {
		partial := restore(t, "parts-claims", "parts", "--include-resources=persistentvolumeclaims,persistentvolumes")
		if partial.Status.Phase != velerov1.RestorePhasePartiallyFailed {
			t.Errorf("the restore is %s, want PartiallyFailed", partial.Status.Phase)
		}
		described := veleroCLI(t, "restore", "describe", "parts-claims", "--details")
		wantContains(t, "velero restore describe --details", described,
			"PersistentVolumeClaim parts/data is restored without its content", "Delete the claim",
			"together with its pods", "--selector")
	})
	t.Run("the content is restored as the message says", func(t *testing.T) {
		in := ns.in(t)
		kubectl(t, "-n", ns.name, "delete", "persistentvolumeclaim", "data", "--timeout=30s")
		wantRestored(t, restore(t, "parts-all", "parts", "--exclude-resources=persistentvolumes"))
		in.waitReady("web")
		if got := in.shell("web", "cat /data/file /data/gone"); got != "old\nold\n" {
			t.Errorf("the volume holds %q, want both files", got)
		}
		if got := in.allocatedKiB("web", "/data/hole"); got < sparseSize {
			t.Errorf("without --write-sparse-files the hole takes %d KiB, want all %d", got, sparseSize)
		}
	})
}

// checkRestoreOverNewerFiles restores a pod whose claim still exists, with files that were written after the backup.
func (ns *testNamespace) checkRestoreOverNewerFiles() {
	ns.t.Helper()
	ns.shell("web", "cd /data; echo new > file; echo new > added; rm gone hole")
	ns.shell("other", "echo new > /cache/file")
	bound := ns.boundVolume("data")
	kubectl(ns.t, "-n", ns.name, "delete", "pod", "web", "--timeout=60s")
	wantRestored(ns.t, restore(ns.t, "parts-over", "parts", "--selector=app=web", "--existing-resource-policy=update",
		"--write-sparse-files"))
	ns.waitReady("web")
	ns.waitMarkerRemoved("web", "/data")
	got := ns.shell("web", "cd /data; cat file gone added; ls -A | tr '\\n' ' '")
	if want := "old\nold\nnew\nadded file gone hole "; got != want {
		ns.t.Errorf("the volume holds %q, want %q: the files of the backup, and the others unchanged", got, want)
	}
	if got := ns.allocatedKiB("web", "/data/hole"); got > sparseSize/16 {
		ns.t.Errorf("with --write-sparse-files the hole takes %d KiB, want less than %d", got, sparseSize/16)
	}
	if now := ns.boundVolume("data"); now != bound {
		ns.t.Errorf("the claim is bound to %s, want %s as before", now, bound)
	}
	if got := ns.shell("other", "cat /cache/file"); got != "new\n" {
		ns.t.Errorf("the pod that the label does not select holds %q, want its newer file", got)
	}
	if restored := podVolumeRestores(ns.t, "parts-over"); len(restored) != 1 {
		ns.t.Errorf("there are %d PodVolumeRestores, want only that of web/data: %v", len(restored), restored)
	}
}

// allocatedKiB returns how much space a file takes, in KiB.
func (ns *testNamespace) allocatedKiB(pod, file string) int {
	ns.t.Helper()
	size, err := strconv.Atoi(strings.Fields(ns.shell(pod, "du -k "+file))[0])
	if err != nil {
		ns.t.Fatal(err)
	}
	return size
}
