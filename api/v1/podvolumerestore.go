// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PodVolumeRestoreSpec says which volume to restore, and from what.
// +kubebuilder:validation:XValidation:rule="self.pod == oldSelf.pod && self.volume == oldSelf.volume && self.backupStorageLocation == oldSelf.backupStorageLocation",message="pod, volume and backupStorageLocation cannot be changed: create another PodVolumeRestore"
type PodVolumeRestoreSpec struct {
	// Pod is the restored pod: namespace, after mapping, and name. It has no UID, for this object is made first.
	Pod corev1.ObjectReference `json:"pod"`
	// Volume is the name of the volume in the pod's spec.
	// +kubebuilder:validation:MinLength=1
	Volume string `json:"volume"`
	// PVC is the name of the claim behind the volume, empty for other volumes. Of several pods that share a claim
	// one has it restored, and the others wait for that.
	// +optional
	PVC string `json:"pvc,omitempty"`
	// BackupStorageLocation is the name of the BackupStorageLocation whose bucket holds the repository.
	// +kubebuilder:validation:MinLength=1
	BackupStorageLocation string `json:"backupStorageLocation"`
	// RepoIdentifier is the repository as restic names it. The agent goes by the storage location instead.
	// +optional
	RepoIdentifier string `json:"repoIdentifier,omitempty"`
	// Repository is the name of the ResticRepository, in the same namespace as this object.
	// +kubebuilder:validation:MinLength=1
	Repository string `json:"repository"`
	// SnapshotID is the snapshot to restore; empty if only its tags are known.
	// +optional
	SnapshotID string `json:"snapshotID,omitempty"`
	// SnapshotTags find the snapshot where its ID is not known: every one must be on it.
	// +optional
	SnapshotTags map[string]string `json:"snapshotTags,omitempty"`
	// Skip is set when the volume was backed up and cannot be restored. Nothing but the phase Skipped follows.
	// +optional
	Skip *SkipReason `json:"skip,omitempty"`
	// Warnings say what of the plugin's configuration could not be used for the pod. They join those in the status.
	// +optional
	// +kubebuilder:validation:MaxItems=20
	Warnings []string `json:"warnings,omitempty"`
	// SourceNamespace is the namespace that the volume was backed up from: the repository's.
	// +kubebuilder:validation:MinLength=1
	SourceNamespace string `json:"sourceNamespace"`
	// RestoreUID is the UID of the Velero restore. The done file in the volume carries it.
	// +kubebuilder:validation:MinLength=1
	RestoreUID string `json:"restoreUID"`
	// Timeout bounds the whole operation, counted from the creation of this object. It is the itemOperationTimeout
	// of the Velero restore.
	// +optional
	Timeout metav1.Duration `json:"timeout,omitempty"`
	// Cancel asks the agent to stop the transfer. It cannot be taken back.
	// +optional
	Cancel bool `json:"cancel,omitempty"`
	// WriteSparseFiles leaves out blocks of zeros in the restored files, as the restore's uploaderConfig asks.
	// +optional
	WriteSparseFiles bool `json:"writeSparseFiles,omitempty"`
}

// PodVolumeRestoreStatus is how the restore of the volume goes.
type PodVolumeRestoreStatus struct {
	VolumeStatus `json:",inline"`
	// Node is the node whose agent took it up.
	// +optional
	Node string `json:"node,omitempty"`
	// SnapshotID is the snapshot that was restored: 64 hexadecimal digits.
	// +optional
	SnapshotID string `json:"snapshotID,omitempty"`
	// MarkerRemoved says that the folder .velero was taken out of the volume again: nothing is left to do.
	// +optional
	MarkerRemoved bool `json:"markerRemoved,omitempty"`
}

// PodVolumeRestore is the restore of one volume of one pod with restic.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=podvolumerestores,shortName=rpvr,categories=velero;restic
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Namespace",type=string,JSONPath=`.spec.pod.namespace`
// +kubebuilder:printcolumn:name="Pod",type=string,JSONPath=`.spec.pod.name`
// +kubebuilder:printcolumn:name="Volume",type=string,JSONPath=`.spec.volume`
// +kubebuilder:printcolumn:name="Bytes Done",type=integer,format=int64,JSONPath=`.status.progress.bytesDone`
// +kubebuilder:printcolumn:name="Total Bytes",type=integer,format=int64,JSONPath=`.status.progress.totalBytes`
// +kubebuilder:printcolumn:name="Warnings",type=integer,JSONPath=`.status.warningCount`,priority=1
// +kubebuilder:printcolumn:name="Storage Location",type=string,JSONPath=`.spec.backupStorageLocation`,priority=1
// +kubebuilder:printcolumn:name="Repository",type=string,JSONPath=`.spec.repository`,priority=1
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.status.node`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type PodVolumeRestore struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   PodVolumeRestoreSpec   `json:"spec,omitempty"`
	Status PodVolumeRestoreStatus `json:"status,omitempty"`
}

// PodVolumeRestoreList is a list of PodVolumeRestores.
// +kubebuilder:object:root=true
type PodVolumeRestoreList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []PodVolumeRestore `json:"items"`
}
