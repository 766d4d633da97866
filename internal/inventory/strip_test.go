// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

func TestStripVolume(t *testing.T) {
	pv := &corev1.PersistentVolume{ObjectMeta: metav1.ObjectMeta{
		Name: "pv", Labels: map[string]string{contract.LabelExcludeFromBackup: "true", "zone": "a"},
	}}
	StripVolume(pv)
	if len(pv.Labels) != 1 || pv.Labels[contract.LabelExcludeFromBackup] != "true" {
		t.Errorf("the labels are %v", pv.Labels)
	}
}

// TestStripPod checks that mounts of init and ephemeral containers stay separate, because Velero's core ignores these.
func TestStripPod(t *testing.T) {
	container := func(mounts ...string) corev1.Container {
		c := corev1.Container{Name: "c", Image: "example.com/c"}
		for _, name := range mounts {
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: "/" + name})
		}
		return c
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{corev1.MirrorPodAnnotationKey: "x", "other": "y"}},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{container("a"), container()},
			Containers:     []corev1.Container{container("b"), container("c")},
			EphemeralContainers: []corev1.EphemeralContainer{{
				EphemeralContainerCommon: corev1.EphemeralContainerCommon(container("d")),
			}},
		},
	}
	StripPod(pod)
	once := pod.DeepCopy()
	StripPod(pod) // objects of a list are stripped twice
	if diff := cmp.Diff(once, pod); diff != "" {
		t.Errorf("stripping twice changes the pod (-once +twice):\n%s", diff)
	}
	names := func(containers []corev1.Container) []string {
		var names []string
		for _, c := range containers {
			for _, mount := range c.VolumeMounts {
				names = append(names, mount.Name)
			}
		}
		return names
	}
	if diff := cmp.Diff([]string{"a", "d"}, names(pod.Spec.InitContainers)); diff != "" {
		t.Errorf("init containers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"b", "c"}, names(pod.Spec.Containers)); diff != "" || len(pod.Spec.Containers) != 1 {
		t.Errorf("%d containers (-want +got):\n%s", len(pod.Spec.Containers), diff)
	}
	if len(pod.Annotations) != 1 || pod.Annotations[corev1.MirrorPodAnnotationKey] == "" {
		t.Errorf("the annotations are %v", pod.Annotations)
	}
}
