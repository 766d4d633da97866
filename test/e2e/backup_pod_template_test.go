// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestPodTemplate has the annotation in the template of a Deployment, whose two pods share a claim.
func TestPodTemplate(t *testing.T) {
	t.Parallel()
	s := newScene(t, "template", 2)
	apply(t, s.claim("data"), s.deployment("web", s.pod("", "data,cache", claimed("data"), emptyDir("cache"))))
	s.waitRollout("web")
	pods := s.podNames()
	s.shell(pods[0], "echo shared > /data/file")
	for _, pod := range pods {
		s.shell(pod, "echo "+pod+" > /cache/file")
	}
	wantComplete(t, backUp(t, "template", "--include-namespaces=template"))
	taken := podVolumeBackups(t, "template")
	if len(taken) != 3 {
		t.Errorf("%d volumes are taken, want the shared claim once and two emptyDirs: %v", len(taken), taken)
	}

	s.deleteNamespace()
	wantRestored(t, restore(t, "template", "template"))
	s.waitRollout("web")
	if after := s.podNames(); strings.Join(after, " ") != strings.Join(pods, " ") {
		t.Errorf("the pods are %v, want those that were backed up, %v", after, pods)
	}
	for _, pod := range pods {
		if got, want := s.shell(pod, "cat /data/file /cache/file"), "shared\n"+pod+"\n"; got != want {
			t.Errorf("the volumes of pod %s hold %q, want %q", pod, got, want)
		}
	}
}

func (s *scene) deployment(name string, pod *corev1.Pod) *appsv1.Deployment {
	replicas, labels := int32(2), map[string]string{"app": name}
	return &appsv1.Deployment{
		TypeMeta:   kind("apps/v1", "Deployment"),
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.namespace},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: pod.Annotations}, Spec: pod.Spec,
			},
		},
	}
}

func (s *scene) waitRollout(deployment string) {
	s.t.Helper()
	kubectl(s.t, "-n", s.namespace, "rollout", "status", "deployment/"+deployment, "--timeout=90s")
}

// podNames are the names of all pods, in order.
func (s *scene) podNames() []string {
	s.t.Helper()
	names := kubectl(s.t, "-n", s.namespace, "get", "pods", "--sort-by=.metadata.name",
		"-o", "jsonpath={.items[*].metadata.name}")
	return strings.Fields(names)
}
