// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package event records the Events of the agent.
package event

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"

	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// Events report the state of transfers on the pods and on the custom resources.
//
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// Announcer tells the world of a phase that an operation has reached: by an Event on its object and on the pod, where
// people look first, and by a metric.
type Announcer struct {
	Recorder record.EventRecorder
	Metrics  *metric.Set
}

// Announce is called once the new phase is saved.
func (a *Announcer) Announce(kind metric.Operation, object runtime.Object, pod corev1.ObjectReference, volume string) {
	operation, ok := object.(resticv1.VolumeOperation)
	if !ok {
		return
	}
	status := operation.VolumeStatus()
	if status.Phase.Final() {
		a.Metrics.Finished(kind, operation)
	}
	eventType, reason := eventFor(status)
	message := eventMessage(kind, volume, status)
	a.Recorder.Event(object, eventType, reason, message)
	if pod.Kind == "" {
		pod.Kind, pod.APIVersion = "Pod", "v1"
	}
	a.Recorder.Event(&pod, eventType, reason, message)
}

func eventFor(status *resticv1.VolumeStatus) (eventType, reason string) {
	switch status.Phase {
	case resticv1.PhaseInProgress, resticv1.PhaseNew:
		return corev1.EventTypeNormal, resticv1.ReasonStarted
	case resticv1.PhaseCompleted:
		if status.WarningCount > 0 {
			return corev1.EventTypeWarning, resticv1.ReasonCompletedWarnings
		}
		return corev1.EventTypeNormal, resticv1.ReasonCompleted
	case resticv1.PhaseCanceled:
		return corev1.EventTypeWarning, resticv1.ReasonCanceled
	case resticv1.PhaseSkipped:
		return corev1.EventTypeWarning, resticv1.ReasonSkipped
	case resticv1.PhaseFailed:
		return corev1.EventTypeWarning, resticv1.ReasonFailed
	}
	return corev1.EventTypeWarning, resticv1.ReasonFailed
}

func eventMessage(kind metric.Operation, volume string, status *resticv1.VolumeStatus) string {
	message := fmt.Sprintf("restic %s of volume %s: %s", kind, volume, status.Phase)
	if status.Message != "" {
		message += ": " + status.Message
	}
	if status.WarningCount > 0 && len(status.Warnings) > 0 {
		message += fmt.Sprintf(", %d warnings, the first: %s", status.WarningCount, status.Warnings[0])
	}
	return Clip(message)
}
