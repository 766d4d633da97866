// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package v1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PodVolumeRestoreSpec defines which volume to restore, and from which snapshot.
// +kubebuilder:validation:XValidation:rule="self.pod == oldSelf.pod && self.volume == oldSelf.volume && self.backupStorageLocation == oldSelf.backupStorageLocation",message="pod, volume and backupStorageLocation cannot be changed: create another PodVolumeRestore"
type PodVolumeRestoreSpec struct {
	// Pod is the restored pod: its namespace, after namespace mapping, and its name. It has no UID, because this object
	// is created before the pod.
	Pod corev1.ObjectReference `json:"pod"`
	// Volume is the name of the volume in the pod's spec.
	// +kubebuilder:validation:MinLength=1
	Volume string `json:"volume"`
	// PVC is the name of the PersistentVolumeClaim that the volume uses, empty for other volumes. If several pods share
	// a claim, it is restored for one of them, and the others wait.
	// +optional
	PVC string `json:"pvc,omitempty"`
	// BackupStorageLocation is the name of the BackupStorageLocation whose bucket holds the repository.
	// +kubebuilder:validation:MinLength=1
	BackupStorageLocation string `json:"backupStorageLocation"`
	// RepoIdentifier is restic's URL of the repository. It is informational: the agent uses the storage location.
	// +optional
	RepoIdentifier string `json:"repoIdentifier,omitempty"`
	// Repository is the name of the ResticRepository in the namespace of this object.
	// +kubebuilder:validation:MinLength=1
	Repository string `json:"repository"`
	// SnapshotID is the ID of the snapshot to restore; empty if only its tags are known.
	// +optional
	SnapshotID string `json:"snapshotID,omitempty"`
	// SnapshotTags identify the snapshot if its ID is unknown. The snapshot must have all of them.
	// +optional
	SnapshotTags map[string]string `json:"snapshotTags,omitempty"`
	// Skip is set if the volume was backed up and cannot be restored. The phase then becomes Skipped.
	// +optional
	Skip *SkipReason `json:"skip,omitempty"`
	// Warnings list plugin settings that could not be used for the pod. The agent copies them into the status.
	// +optional
	// +kubebuilder:validation:MaxItems=20
	Warnings []string `json:"warnings,omitempty"`
	// SourceNamespace is the namespace that the volume was backed up from. The repository belongs to it.
	// +kubebuilder:validation:MinLength=1
	SourceNamespace string `json:"sourceNamespace"`
	// RestoreUID is the UID of the Velero restore. It is the name of the marker file in the volume.
	// +kubebuilder:validation:MinLength=1
	RestoreUID string `json:"restoreUID"`
	// Timeout limits the whole operation, starting with the creation of this object. It is the itemOperationTimeout
	// of the Velero restore.
	// +optional
	Timeout metav1.Duration `json:"timeout,omitempty"`
	// Cancel asks the agent to stop the transfer. It cannot be undone.
	// +optional
	Cancel bool `json:"cancel,omitempty"`
	// WriteSparseFiles makes restic restore blocks of zeros as holes, as the restore's uploaderConfig requests.
	// +optional
	WriteSparseFiles bool `json:"writeSparseFiles,omitempty"`
}

// PodVolumeRestoreStatus is the status of the restore of one volume.
type PodVolumeRestoreStatus struct {
	VolumeStatus `json:",inline"`
	// Node is the name of the node whose agent handles the restore.
	// +optional
	Node string `json:"node,omitempty"`
	// SnapshotID is the ID of the restored snapshot, 64 hexadecimal digits.
	// +optional
	SnapshotID string `json:"snapshotID,omitempty"`
	// MarkerRemoved is true after the agent removed the folder .velero from the volume, its last step.
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
