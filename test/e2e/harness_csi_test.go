// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// csiDriver is the test cluster's: test/cluster/csi.
const csiDriver = "csi.velero-restic.test"

// newCSIScene makes a namespace whose claims get volumes of a CSI driver when a pod uses them, and lose them when they
// are deleted.
func newCSIScene(t *testing.T, namespace string) *scene {
	t.Helper()
	needsNode(t)
	s := newScene(t, namespace, 0)
	s.class = namespace
	s.provideClass(s.class, corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingWaitForFirstConsumer)
	return s
}

// provideClass makes a storage class of the CSI driver, and removes it with the scene.
func (s *scene) provideClass(
	name string, reclaim corev1.PersistentVolumeReclaimPolicy, binding storagev1.VolumeBindingMode,
) {
	s.t.Helper()
	apply(s.t, &storagev1.StorageClass{
		TypeMeta: kind("storage.k8s.io/v1", "StorageClass"), ObjectMeta: metav1.ObjectMeta{Name: name},
		Provisioner: csiDriver, ReclaimPolicy: &reclaim, VolumeBindingMode: &binding,
	})
	s.t.Cleanup(func() {
		if _, err := tryKubectl(s.t, "delete", "storageclass", name, "--ignore-not-found"); err != nil {
			s.t.Error("cleaning up:", err)
		}
	})
}

// claimOf is a claim of another class than the scene's.
func (s *scene) claimOf(class, name string) *corev1.PersistentVolumeClaim {
	claim := s.claim(name)
	claim.Spec.StorageClassName = &class
	return claim
}

// ephemeral is a generic ephemeral volume of the scene's class.
func (s *scene) ephemeral(name string) corev1.Volume {
	template := &corev1.PersistentVolumeClaimTemplate{Spec: s.claim("").Spec}
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
		Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: template},
	}}
}

func inMemory(name string) corev1.Volume {
	volume := emptyDir(name)
	volume.EmptyDir.Medium = corev1.StorageMediumMemory
	return volume
}

// inlineCSI is a volume that the driver makes for the pod, without a claim.
func inlineCSI(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
		CSI: &corev1.CSIVolumeSource{Driver: csiDriver},
	}}
}

func mount(volume string) corev1.VolumeMount {
	return corev1.VolumeMount{Name: volume, MountPath: "/" + volume}
}
