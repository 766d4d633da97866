// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PodVolumeBackupSpec says which volume to back up, and where to.
// +kubebuilder:validation:XValidation:rule="self.pod == oldSelf.pod && self.volume == oldSelf.volume && self.backupStorageLocation == oldSelf.backupStorageLocation",message="pod, volume and backupStorageLocation cannot be changed: create another PodVolumeBackup"
type PodVolumeBackupSpec struct {
	// Node is the name of the node that the pod runs on.
	// +optional
	Node string `json:"node,omitempty"`
	// Pod is the pod that uses the volume: kind, namespace, name and UID.
	Pod corev1.ObjectReference `json:"pod"`
	// Volume is the name of the volume in the pod's spec.
	// +kubebuilder:validation:MinLength=1
	Volume string `json:"volume"`
	// BackupStorageLocation is the name of the BackupStorageLocation whose bucket holds the repository.
	// +kubebuilder:validation:MinLength=1
	BackupStorageLocation string `json:"backupStorageLocation"`
	// RepoIdentifier is the repository as restic names it. Nobody acts on it: the agent goes by the storage location as
	// it is at that moment, and the ResticRepository's status says what that gave.
	// +optional
	RepoIdentifier string `json:"repoIdentifier,omitempty"`
	// Repository is the name of the ResticRepository, in the same namespace as this object.
	// +kubebuilder:validation:MinLength=1
	Repository string `json:"repository"`
	// Tags are put on the snapshot.
	// +optional
	Tags map[string]string `json:"tags,omitempty"`
	// Timeout bounds the whole operation, counted from the creation of this object. It is the itemOperationTimeout
	// of the Velero backup.
	// +optional
	Timeout metav1.Duration `json:"timeout,omitempty"`
	// Cancel asks the agent to stop the transfer. It cannot be taken back.
	// +optional
	Cancel bool `json:"cancel,omitempty"`
	// Skip is set when the volume was asked for and cannot be taken. Nothing but the phase Skipped follows.
	// +optional
	Skip *SkipReason `json:"skip,omitempty"`
	// Forget asks for the snapshot to be removed from the repository, and this object after it. Deleting the object
	// alone removes no data.
	// +optional
	Forget bool `json:"forget,omitempty"`
	// SnapshotID is the snapshot to forget, where the status that named it was lost.
	// +optional
	SnapshotID string `json:"snapshotID,omitempty"`
}

// SkipReason says why a volume cannot be taken, or not be restored.
type SkipReason struct {
	// Reason is one word from a closed list, for machines: see package internal/selection.
	Reason string `json:"reason"`
	// Message says it for people, with the remedy.
	Message string `json:"message"`
}

// PodVolumeBackupStatus is how the backup of the volume goes.
type PodVolumeBackupStatus struct {
	VolumeStatus `json:",inline"`
	// Path is the volume's directory as the agent saw it.
	// +optional
	Path string `json:"path,omitempty"`
	// SnapshotID is the snapshot's full ID: 64 hexadecimal digits. A volume without any file has one too.
	// +optional
	SnapshotID string `json:"snapshotID,omitempty"`
	// ParentSnapshotID is the snapshot that restic compared with, so that unchanged files were not read.
	// +optional
	ParentSnapshotID string `json:"parentSnapshotID,omitempty"`
	// Summary is what restic said at the end.
	// +optional
	Summary *BackupSummary `json:"summary,omitempty"`
}

// BackupSummary is restic's count of what a backup found and stored
// (restic v0.19.1, internal/ui/backup/json.go, summaryOutput).
type BackupSummary struct {
	// FilesNew is how many files the parent did not have.
	// +optional
	FilesNew int64 `json:"filesNew,omitempty"`
	// FilesChanged is how many files differ from the parent's.
	// +optional
	FilesChanged int64 `json:"filesChanged,omitempty"`
	// FilesUnmodified is how many files were not read, since the parent has them.
	// +optional
	FilesUnmodified int64 `json:"filesUnmodified,omitempty"`
	// BytesProcessed is the size of all files, in bytes.
	// +optional
	BytesProcessed int64 `json:"bytesProcessed,omitempty"`
	// BytesAdded is how much was not in the repository before, in bytes, before compression.
	// +optional
	BytesAdded int64 `json:"bytesAdded,omitempty"`
	// BytesAddedPacked is the same as it was stored: compressed and encrypted, in bytes.
	// +optional
	BytesAddedPacked int64 `json:"bytesAddedPacked,omitempty"`
}

// PodVolumeBackup is the backup of one volume of one pod with restic.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=podvolumebackups,shortName=rpvb,categories=velero;restic
// +kubebuilder:selectablefield:JSONPath=".spec.node"
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Namespace",type=string,JSONPath=`.spec.pod.namespace`
// +kubebuilder:printcolumn:name="Pod",type=string,JSONPath=`.spec.pod.name`
// +kubebuilder:printcolumn:name="Volume",type=string,JSONPath=`.spec.volume`
// +kubebuilder:printcolumn:name="Bytes Done",type=integer,format=int64,JSONPath=`.status.progress.bytesDone`
// +kubebuilder:printcolumn:name="Total Bytes",type=integer,format=int64,JSONPath=`.status.progress.totalBytes`
// +kubebuilder:printcolumn:name="Added",type=integer,format=int64,JSONPath=`.status.summary.bytesAddedPacked`,priority=1
// +kubebuilder:printcolumn:name="Warnings",type=integer,JSONPath=`.status.warningCount`,priority=1
// +kubebuilder:printcolumn:name="Storage Location",type=string,JSONPath=`.spec.backupStorageLocation`,priority=1
// +kubebuilder:printcolumn:name="Repository",type=string,JSONPath=`.spec.repository`,priority=1
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.spec.node`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type PodVolumeBackup struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   PodVolumeBackupSpec   `json:"spec,omitempty"`
	Status PodVolumeBackupStatus `json:"status,omitempty"`
}

// PodVolumeBackupList is a list of PodVolumeBackups.
// +kubebuilder:object:root=true
type PodVolumeBackupList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []PodVolumeBackup `json:"items"`
}
