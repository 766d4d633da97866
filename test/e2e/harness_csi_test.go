// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// csiDriver is the driver of the test cluster: test/cluster/csi.
const csiDriver = "csi.velero-restic.test"

// newCSINamespace creates a namespace and a storage class for its claims. A CSI driver creates their volumes when a pod
// uses them, and deletes the volumes together with the claims.
func newCSINamespace(t *testing.T, name string) *testNamespace {
	t.Helper()
	needsNode(t)
	ns := newNamespace(t, name, 0)
	ns.storageClass = name
	ns.createStorageClass(name, corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingWaitForFirstConsumer)
	return ns
}

// createStorageClass creates a storage class of the CSI driver, and removes it when the test ends.
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

// claimOfClass is a claim with another class than the namespace's.
func (ns *testNamespace) claimOfClass(class, name string) *corev1.PersistentVolumeClaim {
	claim := ns.claim(name)
	claim.Spec.StorageClassName = &class
	return claim
}

// ephemeralVolume is a generic ephemeral volume of the namespace's class.
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

// inlineCSIVolume is a volume that the driver creates for the pod, without a claim.
func inlineCSIVolume(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
		CSI: &corev1.CSIVolumeSource{Driver: csiDriver},
	}}
}
