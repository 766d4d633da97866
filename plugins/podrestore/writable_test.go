// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package podrestore

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster/clustertest"
)

// TestMakeWritable has a pod with volumes that it may only read: data is restored, other is not.
func TestMakeWritable(t *testing.T) {
	pod := clustertest.Pod("web", [2]string{"data", "data"}, [2]string{"other", "other"}, [2]string{"free", "free"})
	pod.Spec.Volumes[0].PersistentVolumeClaim.ReadOnly = true
	pod.Spec.Volumes[1].PersistentVolumeClaim.ReadOnly = true
	pod.Spec.Volumes = append(pod.Spec.Volumes,
		corev1.Volume{Name: "share", VolumeSource: corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{ReadOnly: true}}})
	early := corev1.Container{Name: "early", VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/in"}}}
	pod.Spec.InitContainers = []corev1.Container{early}
	item := clustertest.Unstructured(t, pod)
	if err := makeWritable(item, []string{"data", "free", "share"}); err != nil {
		t.Fatal(err)
	}
	want := pod.DeepCopy()
	want.Spec.Volumes[0].PersistentVolumeClaim.ReadOnly = false
	want.Spec.Volumes[3].NFS.ReadOnly = false
	want.Spec.InitContainers[0].VolumeMounts[0].ReadOnly = true
	want.Spec.Containers[0].VolumeMounts[0].ReadOnly = true
	var got corev1.Pod
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &got); diff != "" {
		t.Errorf("the pod differs (-want +got):\n%s", diff)
	}
}
