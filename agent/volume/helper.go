// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volume

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

func WaitsForRestore(pod *corev1.Pod, restoreUID string) bool {
	for i := range pod.Spec.InitContainers {
		container := &pod.Spec.InitContainers[i]
		if container.Name == contract.RestoreContainer {
			return slices.Contains(container.Args, restoreUID)
		}
	}
	return false
}
