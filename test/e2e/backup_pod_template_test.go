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

// TestPodTemplate annotates the template of a Deployment, whose two pods share a claim.
func TestPodTemplate(t *testing.T) {
	shareCluster(t)
	ns := newNamespace(t, "template", 2)
	apply(t, ns.claim("data"), ns.deployment("web", ns.pod("", "data,cache", claimVolume("data"), emptyDir("cache"))))
	ns.waitRollout("web")
	pods := ns.podNames()
	ns.shell(pods[0], "echo shared > /data/file")
	for _, pod := range pods {
		ns.shell(pod, "echo "+pod+" > /cache/file")
	}
	wantCompleted(t, backUp(t, "template", "--include-namespaces=template"))
	taken := podVolumeBackups(t, "template")
	if len(taken) != 3 {
		t.Errorf("%d volumes are backed up, want the shared claim once and two emptyDirs: %v", len(taken), taken)
	}

	ns.delete()
	wantRestored(t, restore(t, "template", "template"))
	ns.waitRollout("web")
	if after := ns.podNames(); strings.Join(after, " ") != strings.Join(pods, " ") {
		t.Errorf("the pods are %v, want those of the backup, %v", after, pods)
	}
	for _, pod := range pods {
		if got, want := ns.shell(pod, "cat /data/file /cache/file"), "shared\n"+pod+"\n"; got != want {
			t.Errorf("the volumes of pod %s hold %q, want %q", pod, got, want)
		}
	}
}

func (ns *testNamespace) deployment(name string, pod *corev1.Pod) *appsv1.Deployment {
	replicas, labels := int32(2), map[string]string{"app": name}
	return &appsv1.Deployment{
		TypeMeta:   typeMeta("apps/v1", "Deployment"),
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns.name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: pod.Annotations}, Spec: pod.Spec,
			},
		},
	}
}

func (ns *testNamespace) waitRollout(deployment string) {
	ns.t.Helper()
	kubectl(ns.t, "-n", ns.name, "rollout", "status", "deployment/"+deployment, "--timeout=90s")
}
