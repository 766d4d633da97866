// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"testing"

	"k8s.io/utils/ptr"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// selectionPolicy selects a class of claims, every emptyDir, and the inline volumes of a driver, without any annotation. What
// it leaves to Velero is what it does not name.
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

// backupWithDefaultVolumes asks for all volumes in the Backup itself, as the template of a schedule does.
const backupWithDefaultVolumes = `
apiVersion: velero.io/v1
kind: Backup
metadata: {name: chosen-field, namespace: velero}
spec: {includedNamespaces: [chosen], defaultVolumesToFsBackup: true, storageLocation: default}
`

// TestVolumeSelection chooses volumes in the ways that need no annotation on the pod that names them.
func TestVolumeSelection(t *testing.T) {
	t.Parallel()
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
	// The base policy has no entry for inline volumes of this driver, which Velero would go for itself: it is excluded.
	t.Run("by --default-volumes-to-fs-backup, but what is excluded", func(t *testing.T) {
		wantCompleted(t, backUp(t, "chosen-flag", "--include-namespaces=chosen", "--default-volumes-to-fs-backup"))
		wantBackedUp(t, "chosen-flag", "plain/data", "plain/cache", "but/kept")
	})
	t.Run("by spec.defaultVolumesToFsBackup", func(t *testing.T) {
		apply(t, backupWithDefaultVolumes)
		wantCompleted(t, waitBackup(t, "chosen-field", operationLimit))
		wantBackedUp(t, "chosen-field", "plain/data", "plain/cache", "but/kept")
	})
}

// TestUnboundClaim has a pod wait for a claim that nothing will ever be bound to. Volume policies make that an error of
// Velero's core, which the base policy prevents: its pod stays in the backup, and costs nobody else anything.
func TestUnboundClaim(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t, "waiting", 1)
	never := ns.claim("never")
	never.Spec.StorageClassName = ptr.To("there-is-no-such-class")
	apply(t, ns.claim("data"), never, ns.pod("runs", "data", claimVolume("data")), ns.pod("waits", "", claimVolume("never")))
	ns.waitReady("runs")
	backup := backUp(t, "waiting", "--include-namespaces=waiting")
	wantCompleted(t, backup)
	if backup.Status.Errors > 0 || backup.Status.Warnings > 0 {
		t.Errorf("the backup has %d errors and %d warnings", backup.Status.Errors, backup.Status.Warnings)
	}
	wantBackedUp(t, "waiting", "runs/data")
	wantContains(t, "velero backup describe --details", veleroCLI(t, "backup", "describe", "waiting", "--details"),
		"- waiting/runs", "- waiting/waits", "- waiting/never")
}
