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

// newCSINamespace makes a namespace whose claims get volumes of a CSI driver when a pod uses them, and lose them when they
// are deleted.
func newCSINamespace(t *testing.T, namespace string) *testNamespace {
	t.Helper()
	needsNode(t)
	ns := newNamespace(t, namespace, 0)
	ns.storageClass = namespace
	ns.createStorageClass(ns.storageClass, corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingWaitForFirstConsumer)
	return ns
}

// createStorageClass makes a storage class of the CSI driver, and removes it with the scene.
func (ns *testNamespace) createStorageClass(
	name string, reclaim corev1.PersistentVolumeReclaimPolicy, binding storagev1.VolumeBindingMode,
) {
	ns.t.Helper()
	apply(ns.t, &storagev1.StorageClass{
		TypeMeta: typeMeta("storage.k8s.io/v1", "StorageClass"), ObjectMeta: metav1.ObjectMeta{Name: name},
		Provisioner: csiDriver, ReclaimPolicy: &reclaim, VolumeBindingMode: &binding,
	})
	ns.t.Cleanup(func() {
		if _, err := tryKubectl(ns.t, "delete", "storageclass", name, "--ignore-not-found"); err != nil {
			ns.t.Error("cleaning up:", err)
		}
	})
}

// claimOfClass is a claim of another class than the scene's.
func (ns *testNamespace) claimOfClass(class, name string) *corev1.PersistentVolumeClaim {
	claim := ns.claim(name)
	claim.Spec.StorageClassName = &class
	return claim
}

// ephemeralVolume is a generic ephemeral volume of the scene's class.
func (ns *testNamespace) ephemeralVolume(name string) corev1.Volume {
	template := &corev1.PersistentVolumeClaimTemplate{Spec: ns.claim("").Spec}
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
		Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: template},
	}}
}

func memoryVolume(name string) corev1.Volume {
	volume := emptyDir(name)
	volume.EmptyDir.Medium = corev1.StorageMediumMemory
	return volume
}

// inlineCSIVolume is a volume that the driver makes for the pod, without a claim.
func inlineCSIVolume(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
		CSI: &corev1.CSIVolumeSource{Driver: csiDriver},
	}}
}

func mountOf(volume string) corev1.VolumeMount {
	return corev1.VolumeMount{Name: volume, MountPath: "/" + volume}
}
