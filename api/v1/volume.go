// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// VolumePhase is how far the backup or the restore of one volume has come.
// +kubebuilder:validation:Enum=New;InProgress;Completed;Failed;Canceled;Skipped
type VolumePhase string

// The phases. The empty one counts as New. The last four are final.
const (
	// PhaseNew is asked for and not started.
	PhaseNew VolumePhase = "New"
	// PhaseInProgress is being worked on by the agent on the volume's node.
	PhaseInProgress VolumePhase = "InProgress"
	// PhaseCompleted has all the data; status.warnings says what could not be read or set, if anything.
	PhaseCompleted VolumePhase = "Completed"
	// PhaseFailed ended without the data; status.message says why.
	PhaseFailed VolumePhase = "Failed"
	// PhaseCanceled was stopped on request, or past its deadline.
	PhaseCanceled VolumePhase = "Canceled"
	// PhaseSkipped cannot be taken at all, for the reason in spec.skip.
	PhaseSkipped VolumePhase = "Skipped"
)

// Final says whether the phase is one that never changes again.
func (p VolumePhase) Final() bool {
	switch p {
	case PhaseCompleted, PhaseFailed, PhaseCanceled, PhaseSkipped:
		return true
	case PhaseNew, PhaseInProgress:
		return false
	}
	return false
}

// Reasons of the Events on these objects and of the repository's condition.
const (
	ReasonStarted            = "Started"
	ReasonCompleted          = "Completed"
	ReasonCompletedWarnings  = "CompletedWithWarnings"
	ReasonFailed             = "Failed"
	ReasonCanceled           = "Canceled"
	ReasonSkipped            = "Skipped"
	ReasonRepositoryReady    = "RepositoryReady"
	ReasonRepositoryNotReady = "RepositoryNotReady"
	ReasonMaintenanceStarted = "MaintenanceStarted"
	ReasonMaintained         = "Maintained"
	ReasonMaintenanceFailed  = "MaintenanceFailed"
	ReasonLocked             = "Locked"
	ReasonUnlocked           = "Unlocked"
	ReasonWaiting            = "Waiting"
	ReasonDamaged            = "Damaged"
	ReasonBadConfiguration   = "BadConfiguration"
	ReasonOrphansFound       = "OrphansFound"
	ReasonOrphansSwept       = "OrphansSwept"
	ReasonSweepFailed        = "SweepFailed"
	ReasonSharedRepository   = "SharedRepository"
	ReasonForgotten          = "SnapshotForgotten"
	ReasonForgetFailed       = "ForgetFailed"
	ReasonAnnotateFailed     = "AnnotateFailed"
	ReasonCoverageDown       = "CoverageDown"
)

// VolumeProgress counts the bytes of one transfer.
type VolumeProgress struct {
	// TotalBytes is the size of the volume's files as far as known, in bytes; 0 while it is not known.
	// +optional
	TotalBytes int64 `json:"totalBytes,omitempty"`
	// BytesDone is how many of them are done.
	// +optional
	BytesDone int64 `json:"bytesDone,omitempty"`
}

// MaxWarnings is how many warnings a status holds; WarningCount counts them all. A status must stay far below etcd's
// limit of 1.5 MiB for an object.
const MaxWarnings = 20

// MaxFormerAgents is how many of them a status remembers.
const MaxFormerAgents = 5

// VolumeStatus is what a PodVolumeBackup and a PodVolumeRestore have to say alike.
type VolumeStatus struct {
	// Phase is how far it has come.
	// +optional
	Phase VolumePhase `json:"phase,omitempty"`
	// Message says why the phase is what it is, or what is being waited for.
	// +optional
	Message string `json:"message,omitempty"`
	// StartTimestamp is when the agent began.
	// +optional
	// +nullable
	StartTimestamp *metav1.Time `json:"startTimestamp,omitempty"`
	// CompletionTimestamp is when the phase became final.
	// +optional
	// +nullable
	CompletionTimestamp *metav1.Time `json:"completionTimestamp,omitempty"`
	// HeartbeatTimestamp is when the agent last said that it is at work, at least once a minute. A transfer whose
	// agent has gone is found by it.
	// +optional
	// +nullable
	HeartbeatTimestamp *metav1.Time `json:"heartbeatTimestamp,omitempty"`
	// Agent is the name of the pod whose agent took it up last: its log tells more, and a lock in the repository with
	// this host name is that pod's.
	// +optional
	Agent string `json:"agent,omitempty"`
	// FormerAgents are the pods whose agents took it up before, the latest last: locks that they left are known by it.
	// +optional
	// +kubebuilder:validation:MaxItems=5
	FormerAgents []string `json:"formerAgents,omitempty"`
	// Attempts counts how often the transfer was started.
	// +optional
	Attempts int32 `json:"attempts,omitempty"`
	// Progress counts bytes.
	// +optional
	Progress VolumeProgress `json:"progress,omitempty"`
	// Warnings are the first 20 problems that did not fail the volume, such as a file that could not be read.
	// +optional
	// +kubebuilder:validation:MaxItems=20
	Warnings []string `json:"warnings,omitempty"`
	// WarningCount is how many there were.
	// +optional
	WarningCount int64 `json:"warningCount,omitempty"`
}
