// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"strconv"
	"strings"
	"testing"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
)

// sparseSize is the size in KiB of a file that is nothing but a hole.
const sparseSize = 64 << 10

// TestPartialRestore restores an older backup over a claim with a newer state, then claims without their pods, then
// what is missing.
func TestPartialRestore(t *testing.T) {
	t.Parallel()
	s := newCSIScene(t, "parts")
	web, other := s.pod("web", "data", claimed("data")), s.pod("other", "cache", emptyDir("cache"))
	web.Labels, other.Labels = map[string]string{"app": "web"}, map[string]string{"app": "other"}
	apply(t, s.claim("data"), web, other)
	s.waitReady("web")
	s.waitReady("other")
	s.shell("web", "cd /data; echo old > file; echo old > gone; truncate -s "+strconv.Itoa(sparseSize)+"k hole")
	s.shell("other", "echo old > /cache/file")
	wantComplete(t, backUp(t, "parts", "--include-namespaces=parts"))

	t.Run("over a newer state, by a label", func(t *testing.T) {
		in := &scene{t: t, namespace: s.namespace, class: s.class}
		in.restoreOver()
	})
	s.deleteNamespace()
	t.Run("claims without pods are said to be empty", func(t *testing.T) {
		partial := restore(t, "parts-claims", "parts", "--include-resources=persistentvolumeclaims,persistentvolumes")
		if partial.Status.Phase != velerov1.RestorePhasePartiallyFailed {
			t.Errorf("the restore is %s, want PartiallyFailed", partial.Status.Phase)
		}
		wants(t, "velero restore describe --details", veleroCLI(t, "restore", "describe", "parts-claims", "--details"),
			"PersistentVolumeClaim parts/data is restored without its content", "Delete the claim",
			"together with its pods", "--selector")
	})
	t.Run("and come with their content as the message tells", func(t *testing.T) {
		in := &scene{t: t, namespace: s.namespace}
		kubectl(t, "-n", s.namespace, "delete", "persistentvolumeclaim", "data", "--timeout=30s")
		wantRestored(t, restore(t, "parts-all", "parts", "--exclude-resources=persistentvolumes"))
		in.waitReady("web")
		if got := in.shell("web", "cat /data/file /data/gone"); got != "old\nold\n" {
			t.Errorf("the volume holds %q, want both files", got)
		}
		if got := in.holds("web", "/data/hole"); got < sparseSize {
			t.Errorf("without --write-sparse-files the hole takes %d KiB, want all %d", got, sparseSize)
		}
	})
}

// restoreOver restores a pod whose claim is still there, with what was written after the backup.
func (s *scene) restoreOver() {
	s.t.Helper()
	s.shell("web", "cd /data; echo new > file; echo new > added; rm gone hole")
	s.shell("other", "echo new > /cache/file")
	bound := s.boundTo("data")
	kubectl(s.t, "-n", s.namespace, "delete", "pod", "web", "--timeout=60s")
	wantRestored(s.t, restore(s.t, "parts-over", "parts", "--selector=app=web", "--existing-resource-policy=update",
		"--write-sparse-files"))
	s.waitReady("web")
	s.waitUnmarked("web", "/data")
	got := s.shell("web", "cd /data; cat file gone added; ls -A | tr '\\n' ' '")
	if want := "old\nold\nnew\nadded file gone hole "; got != want {
		s.t.Errorf("the volume holds %q, want %q: files of the backup, and others as they were", got, want)
	}
	if got := s.holds("web", "/data/hole"); got > sparseSize/16 {
		s.t.Errorf("with --write-sparse-files the hole takes %d KiB, want next to nothing", got)
	}
	if now := s.boundTo("data"); now != bound {
		s.t.Errorf("the claim is bound to %s, want %s as before", now, bound)
	}
	if got := s.shell("other", "cat /cache/file"); got != "new\n" {
		s.t.Errorf("the pod that the label does not select holds %q, want it left alone", got)
	}
	if restored := podVolumeRestores(s.t, "parts-over"); len(restored) != 1 {
		s.t.Errorf("there are %d PodVolumeRestores, want that of web/data alone: %v", len(restored), restored)
	}
}

// holds is how much of the disk a file takes, in KiB.
func (s *scene) holds(pod, file string) int {
	s.t.Helper()
	size, err := strconv.Atoi(strings.Fields(s.shell(pod, "du -k "+file))[0])
	if err != nil {
		s.t.Fatal(err)
	}
	return size
}
