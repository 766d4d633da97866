// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// RepositoryPhase says whether a repository can be used.
// +kubebuilder:validation:Enum=New;Ready;NotReady
type RepositoryPhase string

// The phases. The empty one counts as New.
const (
	// RepositoryNew has not been looked at yet.
	RepositoryNew RepositoryPhase = "New"
	// RepositoryReady exists and opens with the password.
	RepositoryReady RepositoryPhase = "Ready"
	// RepositoryNotReady cannot be used; status.message says why and what to do.
	RepositoryNotReady RepositoryPhase = "NotReady"
)

// ResticRepositorySpec says which repository it is.
// +kubebuilder:validation:XValidation:rule="self.volumeNamespace == oldSelf.volumeNamespace && self.backupStorageLocation == oldSelf.backupStorageLocation",message="volumeNamespace and backupStorageLocation cannot be changed: they are what the repository is made for"
type ResticRepositorySpec struct {
	// VolumeNamespace is the namespace whose volumes the repository holds.
	// +kubebuilder:validation:MinLength=1
	VolumeNamespace string `json:"volumeNamespace"`
	// BackupStorageLocation is the name of the BackupStorageLocation whose bucket holds the repository.
	// +kubebuilder:validation:MinLength=1
	BackupStorageLocation string `json:"backupStorageLocation"`
	// ResticIdentifier is the repository as restic names it, filled in from the storage location.
	// +optional
	ResticIdentifier string `json:"resticIdentifier,omitempty"`
	// MaintenanceFrequency is how often the repository is pruned.
	// +optional
	// +kubebuilder:default="168h"
	MaintenanceFrequency metav1.Duration `json:"maintenanceFrequency,omitempty"`
}

// ResticRepositoryStatus says how the repository is.
type ResticRepositoryStatus struct {
	// Phase says whether it can be used.
	// +optional
	Phase RepositoryPhase `json:"phase,omitempty"`
	// Message says why it cannot be used, and what to do.
	// +optional
	Message string `json:"message,omitempty"`
	// ObservedGeneration is the generation of the spec that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// ResticIdentifier is the repository as restic names it, as last used.
	// +optional
	ResticIdentifier string `json:"resticIdentifier,omitempty"`
	// RepositoryID is the ID that restic gave the repository when it was made. Another one at the same place means
	// that the repository was replaced.
	// +optional
	RepositoryID string `json:"repositoryID,omitempty"`
	// LastCheckedTime is when the repository was last opened.
	// +optional
	// +nullable
	LastCheckedTime *metav1.Time `json:"lastCheckedTime,omitempty"`
	// LastMaintenanceTime is when the repository was last pruned.
	// +optional
	// +nullable
	LastMaintenanceTime *metav1.Time `json:"lastMaintenanceTime,omitempty"`
}

// ResticRepository is the restic repository of one namespace in one backup storage location.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=resticrepositories,shortName=rr,categories=velero;restic
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Volume Namespace",type=string,JSONPath=`.spec.volumeNamespace`
// +kubebuilder:printcolumn:name="Storage Location",type=string,JSONPath=`.spec.backupStorageLocation`
// +kubebuilder:printcolumn:name="Repository",type=string,JSONPath=`.status.resticIdentifier`,priority=1
// +kubebuilder:printcolumn:name="Last Maintenance",type=date,JSONPath=`.status.lastMaintenanceTime`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ResticRepository struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ResticRepositorySpec   `json:"spec,omitempty"`
	Status ResticRepositoryStatus `json:"status,omitempty"`
}

// ResticRepositoryList is a list of ResticRepositories.
// +kubebuilder:object:root=true
type ResticRepositoryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ResticRepository `json:"items"`
}
