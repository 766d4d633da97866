// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// VolumePhase is the state of the backup or restore of one volume.
// +kubebuilder:validation:Enum=New;InProgress;Completed;Failed;Canceled;Skipped
type VolumePhase string

// The phases. An empty phase means New. The last four are final.
const (
	// PhaseNew: requested and not started; status.reason and status.message say what it waits for.
	PhaseNew VolumePhase = "New"
	// PhaseInProgress: the agent on the volume's node is transferring the data.
	PhaseInProgress VolumePhase = "InProgress"
	// PhaseCompleted: the transfer succeeded; status.warnings lists what could not be read or set, if anything.
	PhaseCompleted VolumePhase = "Completed"
	// PhaseFailed: the transfer failed; status.message has the cause.
	PhaseFailed VolumePhase = "Failed"
	// PhaseCanceled: stopped on request, or because its timeout passed.
	PhaseCanceled VolumePhase = "Canceled"
	// PhaseSkipped: the volume cannot be transferred, for the reason in spec.skip.
	PhaseSkipped VolumePhase = "Skipped"
)

// Final returns whether the phase never changes again.
func (p VolumePhase) Final() bool {
	switch p {
	case PhaseCompleted, PhaseFailed, PhaseCanceled, PhaseSkipped:
		return true
	case PhaseNew, PhaseInProgress:
		return false
	}
	return false
}

// VolumeProgress counts the bytes of one transfer.
type VolumeProgress struct {
	// TotalBytes is the size of the volume's files that restic has found so far, in bytes; 0 while it is unknown.
	// +optional
	TotalBytes int64 `json:"totalBytes,omitempty"`
	// BytesDone is how many of these bytes restic has processed.
	// +optional
	BytesDone int64 `json:"bytesDone,omitempty"`
}

// MaxWarnings is how many warnings a status lists; WarningCount counts all of them. A status must stay far below etcd's
// limit of 1.5 MiB for an object.
const MaxWarnings = 20

// MaxFormerAgents is how many former agents a status lists.
const MaxFormerAgents = 5

// VolumeStatus is the part of the status that PodVolumeBackup and PodVolumeRestore share.
type VolumeStatus struct {
	// Phase is the state of the transfer.
	// +optional
	Phase VolumePhase `json:"phase,omitempty"`
	// Reason is the machine-readable cause of the wait that Message describes, one of the WaitingReasons. It is empty
	// unless the volume waits, and until an agent has handled it.
	// +optional
	Reason WaitingReason `json:"reason,omitempty"`
	// Message explains the phase: what a new volume waits for, why a volume failed.
	// +optional
	Message string `json:"message,omitempty"`
	// StartTimestamp is when the agent started the transfer.
	// +optional
	// +nullable
	StartTimestamp *metav1.Time `json:"startTimestamp,omitempty"`
	// CompletionTimestamp is when the phase became final.
	// +optional
	// +nullable
	CompletionTimestamp *metav1.Time `json:"completionTimestamp,omitempty"`
	// HeartbeatTimestamp is when the agent last confirmed that it handles this object. The agent renews it at least
	// once a minute, so an old timestamp means that the agent is gone.
	// +optional
	// +nullable
	HeartbeatTimestamp *metav1.Time `json:"heartbeatTimestamp,omitempty"`
	// Agent is the name of the agent pod that handled this object last. Its log has the details, and restic's locks
	// name it as their host.
	// +optional
	Agent string `json:"agent,omitempty"`
	// FormerAgents are the agent pods that handled this object before, the latest last. They identify the owner of
	// locks that such a pod left in the repository.
	// +optional
	// +kubebuilder:validation:MaxItems=5
	FormerAgents []string `json:"formerAgents,omitempty"`
	// Attempts is how often the transfer was started. After three attempts that were interrupted, the phase is Failed.
	// +optional
	Attempts int32 `json:"attempts,omitempty"`
	// Progress counts bytes.
	// +optional
	Progress VolumeProgress `json:"progress,omitempty"`
	// Warnings are the first 20 problems that did not fail the volume, such as a file that could not be read.
	// +optional
	// +kubebuilder:validation:MaxItems=20
	Warnings []string `json:"warnings,omitempty"`
	// WarningCount is the total number of warnings.
	// +optional
	WarningCount int64 `json:"warningCount,omitempty"`
}
