// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package jobspec

import (
	"cmp"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// Ended says whether a Job has ended, and with which reason if it failed.
func Ended(job *batchv1.Job) (reason string, ended bool) {
	for _, condition := range job.Status.Conditions {
		if condition.Status != corev1.ConditionTrue {
			continue
		}
		switch condition.Type {
		case batchv1.JobComplete:
			return "", true
		case batchv1.JobFailed:
			return cmp.Or(condition.Reason, "Failed"), true
		default: // it goes on, or is being ended
		}
	}
	return "", false
}

// PendingReason returns why a pod does not run yet, in the words of Kubernetes.
func PendingReason(pod *corev1.Pod) string {
	if pod == nil {
		return ": it does not exist; look at `kubectl describe job`, such as for a quota"
	}
	statuses := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	for i := range statuses {
		if waiting := statuses[i].State.Waiting; waiting != nil && waiting.Message != "" {
			return fmt.Sprintf(": %s: %s", waiting.Reason, waiting.Message)
		}
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Status != corev1.ConditionTrue && condition.Message != "" {
			return fmt.Sprintf(": %s: %s", condition.Reason, condition.Message)
		}
	}
	return ""
}

func Terminated(pod *corev1.Pod) *corev1.ContainerStateTerminated {
	if pod == nil {
		return nil
	}
	for i := range pod.Status.ContainerStatuses {
		if status := &pod.Status.ContainerStatuses[i]; status.Name == contract.DaemonSetName {
			return status.State.Terminated
		}
	}
	return nil
}

// IsList says whether a Job makes a list.
func IsList(job *batchv1.Job) bool {
	return job.Labels[contract.LabelOperation] == operationLabel(resticv1.OperationSnapshots)
}
