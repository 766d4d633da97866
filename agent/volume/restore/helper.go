// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restore

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/stranded"
)

// helper is what a pod says of its restore's init container; nil if the pod has none of this restore.
type helper struct{ state *corev1.ContainerState }

func (h helper) absent() bool { return h.state == nil }

func (h helper) running() bool { return h.state != nil && h.state.Running != nil }

func (h helper) terminated() bool { return h.state != nil && h.state.Terminated != nil }

// waitingReason says what keeps the container from running, as far as the kubelet tells.
func (h helper) waitingReason() string {
	if h.state == nil || h.state.Waiting == nil {
		return ""
	}
	return strings.TrimSuffix(fmt.Sprintf(": %s: %s", h.state.Waiting.Reason, h.state.Waiting.Message), ": ")
}

func helperOf(pod *corev1.Pod, restoreUID string) helper {
	if pod == nil || !stranded.WaitsForRestore(pod, restoreUID) {
		return helper{}
	}
	for i := range pod.Status.InitContainerStatuses {
		if status := &pod.Status.InitContainerStatuses[i]; status.Name == contract.RestoreContainer {
			return helper{state: &status.State}
		}
	}
	return helper{state: &corev1.ContainerState{}}
}
