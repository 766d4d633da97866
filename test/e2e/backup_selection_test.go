// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"testing"

	"k8s.io/utils/ptr"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// selectionPolicy selects the claims of a class, every emptyDir, and the inline volumes of a driver, without any
// annotation. Everything else is left to Velero.
const selectionPolicy = `
apiVersion: v1
kind: ConfigMap
metadata: {name: chosen-policy, namespace: velero}
data:
  policies.yaml: |
    version: v1
    volumePolicies:
    - conditions: {storageClass: [chosen]}
      action: {type: custom, parameters: {uploader: restic}}
    - conditions: {volumeTypes: [emptyDir]}
      action: {type: custom, parameters: {uploader: restic}}
    - conditions: {csi: {driver: csi.velero-restic.test}}
      action: {type: custom, parameters: {uploader: restic}}
`

// backupWithDefaultVolumes selects all volumes in the Backup itself, as the template of a schedule does.
const backupWithDefaultVolumes = `
apiVersion: velero.io/v1
kind: Backup
metadata: {name: chosen-field, namespace: velero}
spec: {includedNamespaces: [chosen], defaultVolumesToFsBackup: true, storageLocation: default}
`

// TestVolumeSelection selects volumes in each way that needs no annotation with their names.
func TestVolumeSelection(t *testing.T) {
	shareCluster(t)
	ns := newCSINamespace(t, "chosen")
	plain := ns.pod("plain", "", claimVolume("data"), emptyDir("cache"), inlineCSIVolume("inline"))
	plain.Annotations = map[string]string{contract.AnnotationVolumesToExclude: "inline"}
	but := ns.pod("but", "", emptyDir("kept"), emptyDir("left"), emptyDir("out"))
	but.Annotations = map[string]string{contract.AnnotationVolumesToExclude: "left,out"}
	apply(t, selectionPolicy, ns.claim("data"), plain, but)
	t.Cleanup(func() { kubectl(t, "-n", "velero", "delete", "configmap", "chosen-policy", "--ignore-not-found") })
	ns.waitReady("plain")
	ns.waitReady("but")
	ns.shell("plain", "for v in data cache inline; do echo content of $v > /$v/file; done")
	ns.shell("but", "for v in kept left out; do echo content of $v > /$v/file; done")

	t.Run("by a volume policy with uploader restic", func(t *testing.T) {
		wantCompleted(t, backUp(t, "chosen-policy", "--include-namespaces=chosen",
			"--resource-policies-configmap=chosen-policy"))
		wantBackedUp(t, "chosen-policy", "plain/data", "plain/cache", "plain/inline", "but/kept", "but/left", "but/out")
	})
	// The base policy has no entry for inline volumes of this driver, which Velero would back up itself: the pod's
	// annotation excludes the volume.
	t.Run("by --default-volumes-to-fs-backup, except what is excluded", func(t *testing.T) {
		wantCompleted(t, backUp(t, "chosen-flag", "--include-namespaces=chosen", "--default-volumes-to-fs-backup"))
		wantBackedUp(t, "chosen-flag", "plain/data", "plain/cache", "but/kept")
	})
	t.Run("by spec.defaultVolumesToFsBackup", func(t *testing.T) {
		apply(t, backupWithDefaultVolumes)
		wantCompleted(t, waitBackup(t, "chosen-field", operationLimit))
		wantBackedUp(t, "chosen-field", "plain/data", "plain/cache", "but/kept")
	})
}

// TestUnboundClaim backs up a pod that waits for a claim without a volume. With a volume policy, Velero treats such a
// claim as an error and leaves its pod out, unless the policy names it as the base policy does.
func TestUnboundClaim(t *testing.T) {
	shareCluster(t)
	ns := newNamespace(t, "waiting", 1)
	never := ns.claim("never")
	never.Spec.StorageClassName = ptr.To("there-is-no-such-class")
	apply(t, ns.claim("data"), never, ns.pod("runs", "data", claimVolume("data")), ns.pod("waits", "", claimVolume("never")))
	ns.waitReady("runs")
	backup := backUp(t, "waiting", "--include-namespaces=waiting")
	wantCompleted(t, backup)
	if backup.Status.Errors > 0 || backup.Status.Warnings > 0 {
		t.Errorf("the backup has %d errors and %d warnings, want none", backup.Status.Errors, backup.Status.Warnings)
	}
	wantBackedUp(t, "waiting", "runs/data")
	wantContains(t, "velero backup describe --details", veleroCLI(t, "backup", "describe", "waiting", "--details"),
		"- waiting/runs", "- waiting/waits", "- waiting/never")
}
