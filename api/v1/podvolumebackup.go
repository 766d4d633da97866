// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PodVolumeBackupSpec defines which volume to back up, and into which repository.
// +kubebuilder:validation:XValidation:rule="self.pod == oldSelf.pod && self.volume == oldSelf.volume && self.backupStorageLocation == oldSelf.backupStorageLocation",message="pod, volume and backupStorageLocation cannot be changed: create another PodVolumeBackup"
type PodVolumeBackupSpec struct {
	// Node is the name of the node that the pod runs on.
	// +optional
	Node string `json:"node,omitempty"`
	// Pod is the pod that uses the volume: its kind, namespace, name and UID.
	Pod corev1.ObjectReference `json:"pod"`
	// Volume is the name of the volume in the pod's spec.
	// +kubebuilder:validation:MinLength=1
	Volume string `json:"volume"`
	// BackupStorageLocation is the name of the BackupStorageLocation whose bucket holds the repository.
	// +kubebuilder:validation:MinLength=1
	BackupStorageLocation string `json:"backupStorageLocation"`
	// RepoIdentifier is restic's URL of the repository. It is informational: the agent uses the storage location, and
	// the status of the ResticRepository has the resulting URL.
	// +optional
	RepoIdentifier string `json:"repoIdentifier,omitempty"`
	// Repository is the name of the ResticRepository in the namespace of this object.
	// +kubebuilder:validation:MinLength=1
	Repository string `json:"repository"`
	// Tags are the tags of the snapshot.
	// +optional
	Tags map[string]string `json:"tags,omitempty"`
	// Timeout limits the whole operation, starting with the creation of this object. It is the itemOperationTimeout
	// of the Velero backup.
	// +optional
	Timeout metav1.Duration `json:"timeout,omitempty"`
	// Cancel asks the agent to stop the transfer. It cannot be undone.
	// +optional
	Cancel bool `json:"cancel,omitempty"`
	// Skip is set if the volume was selected and cannot be backed up. The phase then becomes Skipped.
	// +optional
	Skip *SkipReason `json:"skip,omitempty"`
	// Forget asks for the removal of the snapshot from the repository. The object is deleted afterwards. Deleting the
	// object without Forget removes no data.
	// +optional
	Forget bool `json:"forget,omitempty"`
	// SnapshotID is the ID of the snapshot to forget, for an object that was re-created without its status.
	// +optional
	SnapshotID string `json:"snapshotID,omitempty"`
}

// SkipReason is why a volume cannot be backed up or restored.
type SkipReason struct {
	// Reason is machine-readable, such as HostPath or PodNotRunning: one of the reasons in package internal/selection.
	Reason string `json:"reason"`
	// Message is human-readable: the cause, and what to do about it.
	Message string `json:"message"`
}

// PodVolumeBackupStatus is the status of the backup of one volume.
type PodVolumeBackupStatus struct {
	VolumeStatus `json:",inline"`
	// Path is the directory of the volume in the agent's file system.
	// +optional
	Path string `json:"path,omitempty"`
	// SnapshotID is the full ID of the snapshot, 64 hexadecimal digits. An empty volume has a snapshot, too.
	// +optional
	SnapshotID string `json:"snapshotID,omitempty"`
	// ParentSnapshotID is the ID of the snapshot that restic compared the files with, to skip unchanged ones.
	// +optional
	ParentSnapshotID string `json:"parentSnapshotID,omitempty"`
	// Summary is the summary that restic printed at the end.
	// +optional
	Summary *BackupSummary `json:"summary,omitempty"`
}

// BackupSummary is restic's count of what it found and stored
// (restic v0.19.1, internal/ui/backup/json.go, summaryOutput).
type BackupSummary struct {
	// FilesNew is how many files the parent snapshot does not have.
	// +optional
	FilesNew int64 `json:"filesNew,omitempty"`
	// FilesChanged is how many files differ from the parent snapshot.
	// +optional
	FilesChanged int64 `json:"filesChanged,omitempty"`
	// FilesUnmodified is how many files restic did not read, because the parent snapshot has them.
	// +optional
	FilesUnmodified int64 `json:"filesUnmodified,omitempty"`
	// BytesProcessed is the size of all files, in bytes.
	// +optional
	BytesProcessed int64 `json:"bytesProcessed,omitempty"`
	// BytesAdded is the size of the data that was new to the repository, in bytes, before compression.
	// +optional
	BytesAdded int64 `json:"bytesAdded,omitempty"`
	// BytesAddedPacked is the size of the same data as stored, compressed and encrypted, in bytes.
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
