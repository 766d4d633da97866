// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/node"
)

// label is on every object that the demo creates, so that the next demo removes only these.
const label = "velero-restic-demo"

const storageClass = `
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: ` + label + `, labels: {` + label + `: "true"}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
`

// persistentVolume is a directory of the node, which a user can inspect easily.
const persistentVolume = `---
apiVersion: v1
kind: PersistentVolume
metadata: {name: %[1]s, labels: {` + label + `: "true"}}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: ` + label + `
  persistentVolumeReclaimPolicy: Retain
  local: {path: %[2]s}
  nodeAffinity:
    required:
      nodeSelectorTerms:
      - matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [%[3]s]}]
`

// sample is the pod of Velero's documentation of restic, with an image that has a shell.
const sample = `
apiVersion: v1
kind: Namespace
metadata: {name: foo, labels: {` + label + `: "true"}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: test-volume-claim, namespace: foo}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
%s---
apiVersion: v1
kind: Pod
metadata: {name: sample, namespace: foo}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - image: ` + node.BusyboxImage + `
    name: test-webserver
    command: [sleep, infinity]
    volumeMounts:
    - {name: pvc-volume, mountPath: /volume-1}
    - {name: emptydir-volume, mountPath: /volume-2}
  volumes:
  - name: pvc-volume
    persistentVolumeClaim: {claimName: test-volume-claim}
  - name: emptydir-volume
    emptyDir: {}
`

func (d *demo) sample() []byte {
	if d.node == nil {
		return fmt.Appendf(nil, sample, "")
	}
	return fmt.Appendf(nil, sample, "  storageClassName: "+label+"\n")
}

// localVolumes returns the manifests of two new, empty volumes on the node: one that the demo deletes, and one for the
// restore, like one that a provisioner would create.
func (d *demo) localVolumes() ([]byte, error) {
	manifests := []byte(storageClass)
	for _, suffix := range []string{"-lost", "-new"} {
		name := d.name + suffix
		folder := filepath.Join(d.volumesFolder(), name)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, fmt.Errorf("creating a volume: %w", err)
		}
		manifests = fmt.Appendf(manifests, persistentVolume, name, folder, d.node.NodeName())
	}
	return manifests, nil
}

func (d *demo) volumesFolder() string { return filepath.Join(d.node.State(), "demo-volumes") }
