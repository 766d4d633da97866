// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package condition sets the conditions of a ResticRepository.
package condition

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/velero-restic/velero-plugin-for-restic/agent/event"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// Set changes a condition of a repository's status.
func Set(
	repository *resticv1.ResticRepository, kind string, status metav1.ConditionStatus, reason, message string,
) {
	meta.SetStatusCondition(&repository.Status.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: event.Clip(message),
		ObservedGeneration: repository.Generation,
	})
}
