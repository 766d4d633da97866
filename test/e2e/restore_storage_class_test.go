// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
)

// changeStorageClass has Velero replace a storage class at a restore.
const changeStorageClass = `
apiVersion: v1
kind: ConfigMap
metadata:
  name: change-storage-class
  namespace: velero
  labels: {velero.io/plugin-config: "", velero.io/change-storage-class: RestoreItemAction}
data: {moved: moved-csi}
`

// TestRestoreToAnotherStorageClass restores a local volume into a volume of a CSI driver, in another namespace.
func TestRestoreToAnotherStorageClass(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	ns, copied := newNamespace(t, "moved", 1), newNamespace(t, "moved-copy", 0)
	ns.createStorageClass("moved-csi", corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingWaitForFirstConsumer)
	apply(t, changeStorageClass, ns.claim("data"), ns.pod("web", "data,cache", claimVolume("data"), emptyDir("cache")))
	t.Cleanup(func() {
		kubectl(t, "-n", "velero", "delete", "configmap", "change-storage-class", "--ignore-not-found")
	})
	ns.waitReady("web")
	ns.fillVolume("web", "/data", "--small")
	ns.shell("web", "echo content > /cache/file")
	data := ns.recordVolume("web", "/data")
	wantCompleted(t, backUp(t, "moved", "--include-namespaces=moved"))

	wantRestored(t, restore(t, "moved", "moved", "--namespace-mappings=moved:moved-copy"))
	copied.waitReady("web")
	copied.waitMarkerRemoved("web", "/data")
	wantSameFiles(t, "the claim of another class", data, copied.recordVolume("web", "/data"))
	if got := copied.shell("web", "cat /cache/file"); got != "content\n" {
		t.Errorf("the emptyDir holds %q, want content", got)
	}
	volume := get[corev1.PersistentVolume](t, "", copied.boundVolume("data"))
	if volume.Spec.CSI == nil || volume.Spec.StorageClassName != "moved-csi" {
		t.Errorf("the claim is bound to %s of class %q, want a volume of the CSI driver",
			volume.Name, volume.Spec.StorageClassName)
	}
}
