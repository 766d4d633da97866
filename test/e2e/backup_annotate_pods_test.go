// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

const (
	// annotationLimit is how long a new leader may take to be elected and to write the annotations.
	annotationLimit = time.Minute
	annotationRules = `
apiVersion: v1
kind: ConfigMap
metadata:
  name: annotate-rules
  namespace: velero
  labels: {velero.io/plugin-config: "", velero.io/restic: BackupItemAction}
data:
  rules.yaml: |
    rules:
    - {name: annotated, action: include, namespaces: [annotate], volumes: [data, spool]}
`
)

// enablePodAnnotations has the leading agent annotate pods until the test ends.
func enablePodAnnotations(t *testing.T) {
	t.Helper()
	component := filepath.Join(suite.repository, "examples", "component", "annotate")
	rights := []string{
		"-f", filepath.Join(component, "rbac.yaml"), "-f", filepath.Join(component, "role.yaml"),
		"-f", filepath.Join(component, "admission.yaml"),
	}
	kubectl(t, append([]string{"apply"}, rights...)...)
	t.Cleanup(func() {
		if _, err := tryKubectl(t, append([]string{"delete", "--ignore-not-found"}, rights...)...); err != nil {
			t.Error("cleaning up:", err)
		}
		if _, err := tryKubectl(t, "-n", velero.Namespace, "delete", "configmap", "annotate-rules",
			"--ignore-not-found"); err != nil {
			t.Error("cleaning up:", err)
		}
	})
	setAgentFlags(t, "--annotate-pods")
}

// waitAnnotations waits until these are the volumes that the pod's annotation names, and those that a rule named.
func (ns *testNamespace) waitAnnotations(pod, named, byRule string) {
	ns.t.Helper()
	eventually(ns.t, annotationLimit, "annotations of pod "+pod, func() error {
		got, err := tryGet[corev1.Pod](ns.t, ns.name, pod)
		if err != nil {
			return err
		}
		if got.Annotations[contract.AnnotationVolumesToBackup] != named ||
			got.Annotations[contract.AnnotationVolumesByRule] != byRule {
			return fmt.Errorf("the annotations are %v", got.Annotations)
		}
		return nil
	})
}

// TestAnnotatePods has the leading agent write annotations, and keeps those that a person wrote.
func TestAnnotatePods(t *testing.T) {
	reserveCluster(t)
	enablePodAnnotations(t)
	ns := newNamespace(t, "annotate", 1)
	waiting := ns.pod("waiting", "", emptyDir("spool"))
	waiting.Spec.NodeSelector = map[string]string{"e2e": "nowhere"}
	apply(t, ns.claim("data"), waiting, ns.pod("web", "", claimVolume("data"), emptyDir("cache")),
		ns.pod("mine", "cache", emptyDir("cache"), emptyDir("spool")), ns.pod("keeper", "", emptyDir("spool")))
	for _, pod := range []string{"web", "mine", "keeper"} {
		ns.waitReady(pod)
	}
	apply(t, annotationRules)
	ns.waitAnnotations("web", "data", "data")
	ns.waitAnnotations("keeper", "spool", "spool")
	ns.waitAnnotations("waiting", "spool", "spool")
	ns.waitAnnotations("mine", "cache", "")
	kubectl(t, "-n", ns.name, "delete", "pod", "waiting", "--now")

	wantCompleted(t, backUp(t, "annotate", "--include-namespaces="+ns.name))
	wantBackedUp(t, "annotate", "web/data", "keeper/spool", "mine/cache", "mine/spool")

	kubectl(t, "-n", ns.name, "annotate", "pod", "web", "--overwrite",
		contract.AnnotationVolumesToBackup+"=data,cache")
	ns.waitAnnotations("web", "data,cache", "")
	kubectl(t, "-n", velero.Namespace, "delete", "configmap", "annotate-rules")
	ns.waitAnnotations("keeper", "", "")
	ns.waitAnnotations("web", "data,cache", "")
	ns.waitAnnotations("mine", "cache", "")
}
