// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"testing"

	"k8s.io/utils/ptr"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// byPolicy selects a class of claims, every emptyDir, and the inline volumes of a driver, without any annotation. What
// it leaves to Velero is what it does not name.
const byPolicy = `
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

// byField asks for all volumes in the Backup itself, as the template of a schedule does.
const byField = `
apiVersion: velero.io/v1
kind: Backup
metadata: {name: chosen-field, namespace: velero}
spec: {includedNamespaces: [chosen], defaultVolumesToFsBackup: true, storageLocation: default}
`

// TestVolumeSelection chooses volumes in the ways that need no annotation on the pod that names them.
func TestVolumeSelection(t *testing.T) {
	t.Parallel()
	s := newCSIScene(t, "chosen")
	plain := s.pod("plain", "", claimed("data"), emptyDir("cache"), inlineCSI("inline"))
	plain.Annotations = map[string]string{contract.AnnotationVolumesToExclude: "inline"}
	but := s.pod("but", "", emptyDir("kept"), emptyDir("left"), emptyDir("out"))
	but.Annotations = map[string]string{contract.AnnotationVolumesToExclude: "left,out"}
	apply(t, byPolicy, s.claim("data"), plain, but)
	t.Cleanup(func() { kubectl(t, "-n", "velero", "delete", "configmap", "chosen-policy", "--ignore-not-found") })
	s.waitReady("plain")
	s.waitReady("but")
	s.shell("plain", "for v in data cache inline; do echo content of $v > /$v/file; done")
	s.shell("but", "for v in kept left out; do echo content of $v > /$v/file; done")

	t.Run("by a volume policy with uploader restic", func(t *testing.T) {
		wantComplete(t, backUp(t, "chosen-policy", "--include-namespaces=chosen",
			"--resource-policies-configmap=chosen-policy"))
		wantTaken(t, "chosen-policy", "plain/data", "plain/cache", "plain/inline", "but/kept", "but/left", "but/out")
	})
	// The base policy has no entry for inline volumes of this driver, which Velero would go for itself: it is excluded.
	t.Run("by --default-volumes-to-fs-backup, but what is excluded", func(t *testing.T) {
		wantComplete(t, backUp(t, "chosen-flag", "--include-namespaces=chosen", "--default-volumes-to-fs-backup"))
		wantTaken(t, "chosen-flag", "plain/data", "plain/cache", "but/kept")
	})
	t.Run("by spec.defaultVolumesToFsBackup", func(t *testing.T) {
		apply(t, byField)
		wantComplete(t, awaitBackup(t, "chosen-field", operationLimit))
		wantTaken(t, "chosen-field", "plain/data", "plain/cache", "but/kept")
	})
}

// TestUnboundClaim has a pod wait for a claim that nothing will ever be bound to. Volume policies make that an error of
// Velero's core, which the base policy prevents: its pod stays in the backup, and costs nobody else anything.
func TestUnboundClaim(t *testing.T) {
	t.Parallel()
	s := newScene(t, "waiting", 1)
	never := s.claim("never")
	never.Spec.StorageClassName = ptr.To("there-is-no-such-class")
	apply(t, s.claim("data"), never, s.pod("runs", "data", claimed("data")), s.pod("waits", "", claimed("never")))
	s.waitReady("runs")
	backup := backUp(t, "waiting", "--include-namespaces=waiting")
	wantComplete(t, backup)
	if backup.Status.Errors > 0 || backup.Status.Warnings > 0 {
		t.Errorf("the backup has %d errors and %d warnings", backup.Status.Errors, backup.Status.Warnings)
	}
	wantTaken(t, "waiting", "runs/data")
	wants(t, "velero backup describe --details", veleroCLI(t, "backup", "describe", "waiting", "--details"),
		"- waiting/runs", "- waiting/waits", "- waiting/never")
}
