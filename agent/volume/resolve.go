// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volume

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/hostpath"
)

// The claim of a pod and its PersistentVolume show where a volume is on the node.
//
// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims;persistentvolumes,verbs=get

// Resolve collects what is needed to find a pod's volume on the node. Claims and PersistentVolumes are read from the
// API server: caching those of the whole cluster on each node would cost more than a backup's two reads.
func Resolve(ctx context.Context, reader client.Reader, pod *corev1.Pod, name string) (hostpath.Volume, error) {
	volume := hostpath.Volume{Pod: pod, Name: name}
	claim := claimOf(pod, name)
	if claim == "" {
		return volume, nil
	}
	pvc := &corev1.PersistentVolumeClaim{}
	if err := reader.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: claim}, pvc); err != nil {
		return volume, fmt.Errorf("reading claim %s/%s: %w", pod.Namespace, claim, err)
	}
	volume.PVC = pvc
	if pvc.Spec.VolumeName == "" {
		return volume, nil
	}
	pv := &corev1.PersistentVolume{}
	if err := reader.Get(ctx, client.ObjectKey{Name: pvc.Spec.VolumeName}, pv); err != nil {
		return volume, fmt.Errorf("reading PersistentVolume %s: %w", pvc.Spec.VolumeName, err)
	}
	volume.PV = pv
	return volume, nil
}

// claimOf returns the name of the claim behind a pod's volume; empty for another volume, or for none.
func claimOf(pod *corev1.Pod, volume string) string {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.Name != volume {
			continue
		}
		switch {
		case v.PersistentVolumeClaim != nil:
			return v.PersistentVolumeClaim.ClaimName
		case v.Ephemeral != nil:
			// Kubernetes names the claim of a generic ephemeral volume so (Kubernetes v1.36,
			// staging/src/k8s.io/component-helpers/storage/ephemeral/ephemeral.go, VolumeClaimName).
			return pod.Name + "-" + v.Name
		}
	}
	return ""
}
