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
	// OpenOnly keeps a repository that is missing from being made. A restore sets it where it is the first to ask for
	// the repository, since an empty one would be of no use to it; the first backup takes it off.
	// +optional
	OpenOnly bool `json:"openOnly,omitempty"`
	// MaintenanceFrequency is how often the repository is pruned, counted from the last success; 0 leaves it to
	// requests.
	// +optional
	// +kubebuilder:default="168h"
	MaintenanceFrequency metav1.Duration `json:"maintenanceFrequency,omitempty"`
	// CheckFrequency is how often the repository's structure, and the next part of its data, is checked; 0 leaves it to
	// requests.
	// +optional
	// +kubebuilder:default="168h"
	CheckFrequency metav1.Duration `json:"checkFrequency,omitempty"`
	// CheckParts is into how many parts the data is divided. Each check reads one of them, so that all of it has been
	// read after as many checks. 1 reads everything each time; 0 reads no data, only the structure.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=256
	CheckParts int32 `json:"checkParts,omitempty"`
	// Requests ask for something to be done once, and soon.
	// +optional
	Requests RepositoryRequests `json:"requests,omitempty"`
}

// RepositoryRequests ask for one thing each by a word that the requester chooses, such as the time. It is done once for
// each new word, and the maintenance in the status that has done it, or tried to, repeats the word.
type RepositoryRequests struct {
	// Check asks for a check.
	// +optional
	Check string `json:"check,omitempty"`
	// Prune asks for a prune.
	// +optional
	Prune string `json:"prune,omitempty"`
	// Unlock asks for every lock to be removed that restic takes for abandoned, or whose holder was a pod of this
	// cluster that is gone. Locks of those that live are left.
	// +optional
	Unlock string `json:"unlock,omitempty"`
	// Snapshots asks for a list of the repository's snapshots, in the log of the Job's pod. It takes no lock, and is
	// done beside backups, restores, and whatever else is done to the repository.
	// +optional
	Snapshots string `json:"snapshots,omitempty"`
}

// MaintenanceOperation is what is done to a repository as a whole.
// +kubebuilder:validation:Enum=Check;Prune;Unlock;Snapshots
type MaintenanceOperation string

// The operations, by restic's names for them.
const (
	// OperationCheck runs restic check.
	OperationCheck MaintenanceOperation = "Check"
	// OperationPrune runs restic prune.
	OperationPrune MaintenanceOperation = "Prune"
	// OperationUnlock runs restic unlock.
	OperationUnlock MaintenanceOperation = "Unlock"
	// OperationSnapshots runs restic snapshots.
	OperationSnapshots MaintenanceOperation = "Snapshots"
)

// MaintenanceResult is how an operation ended.
// +kubebuilder:validation:Enum=Running;Succeeded;Failed;Locked
type MaintenanceResult string

// The results.
const (
	// MaintenanceRunning is not over.
	MaintenanceRunning MaintenanceResult = "Running"
	// MaintenanceSucceeded did what was asked.
	MaintenanceSucceeded MaintenanceResult = "Succeeded"
	// MaintenanceFailed did not, or found the repository damaged; the message says which.
	MaintenanceFailed MaintenanceResult = "Failed"
	// MaintenanceLocked could not begin, since somebody else held the repository's lock. It is tried again.
	MaintenanceLocked MaintenanceResult = "Locked"
)

// MaxMaintenance is how many operations a repository's status remembers of each kind.
const MaxMaintenance = 5

// Maintenance is one operation on a repository, running or over.
type Maintenance struct {
	// Operation is what was done.
	Operation MaintenanceOperation `json:"operation"`
	// Result is how it ended.
	Result MaintenanceResult `json:"result"`
	// Message is the outcome for people: what was freed, what is broken, why it could not be done.
	// +optional
	Message string `json:"message,omitempty"`
	// Request is the word by which it was asked for; empty if it was due.
	// +optional
	Request string `json:"request,omitempty"`
	// Job is the name of the Job that did it, in the namespace of this object; empty if none could be made.
	// +optional
	Job string `json:"job,omitempty"`
	// Host is whose locks an unlock removes; empty for those that restic itself takes for abandoned.
	// +optional
	Host string `json:"host,omitempty"`
	// Damaged says that a check found the repository damaged, and not merely that it could not be done.
	// +optional
	Damaged bool `json:"damaged,omitempty"`
	// Part is which part of the data a check read, from 1; 0 for none.
	// +optional
	Part int32 `json:"part,omitempty"`
	// StartTime is when it was begun.
	StartTime metav1.Time `json:"startTime"`
	// CompletionTime is when it ended.
	// +optional
	// +nullable
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// Duration is how long it took.
	// +optional
	Duration *metav1.Duration `json:"duration,omitempty"`
}

// Types of a repository's conditions.
const (
	// ConditionIntact is false when the last check found damage, and unknown before the first one.
	ConditionIntact = "Intact"
	// ConditionPruned is false when the last prune failed.
	ConditionPruned = "Pruned"
	// ConditionUnlocked is false while a lock stands in the way of something; the message names its holder.
	ConditionUnlocked = "Unlocked"
	// ConditionMaintained is false while something is due and cannot be done, or was tried and failed.
	ConditionMaintained = "Maintained"
)

// MaxLocks is how many locks a repository's status lists.
const MaxLocks = 20

// RepositoryLock is a lock that stands in the repository.
type RepositoryLock struct {
	// ID is restic's.
	ID string `json:"id"`
	// Host is the name of the host that its holder ran on: for an agent, the name of its pod.
	Host string `json:"host"`
	// PID is the holder's process, on that host.
	// +optional
	PID int64 `json:"pid,omitempty"`
	// Exclusive locks keep everybody out, the others only what is exclusive itself: forget, prune and check.
	// +optional
	Exclusive bool `json:"exclusive,omitempty"`
	// Time is when it was last refreshed. A holder that lives does so every five minutes.
	Time metav1.Time `json:"time"`
	// Holder says who that is, as far as this cluster knows, and when the lock goes if its holder is gone.
	// +optional
	Holder string `json:"holder,omitempty"`
	// Abandoned says that the holder was a pod of this cluster which is provably gone, so that the lock is removed.
	// +optional
	Abandoned bool `json:"abandoned,omitempty"`
}

// MaxOrphans is how many orphans a repository's status lists; the count has all of them.
const MaxOrphans = 100

// MaxOtherClusters is how many other clusters a repository's status names.
const MaxOtherClusters = 10

// Orphan is a snapshot that this cluster made for a backup which is no longer there.
type Orphan struct {
	// SnapshotID is its full ID.
	SnapshotID string `json:"snapshotID"`
	// Backup is the name of the Velero backup.
	// +optional
	Backup string `json:"backup,omitempty"`
	// Pod is the name of the pod that the volume was backed up from.
	// +optional
	Pod string `json:"pod,omitempty"`
	// Volume is the volume's name in the pod's spec.
	// +optional
	Volume string `json:"volume,omitempty"`
	// FirstSeen is when it was reported. It is removed when it is still an orphan after the grace period.
	FirstSeen metav1.Time `json:"firstSeen"`
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
	// LastOpenedTime is when the repository was last opened with its password.
	// +optional
	// +nullable
	LastOpenedTime *metav1.Time `json:"lastOpenedTime,omitempty"`
	// LastMaintenanceTime is when the repository was last pruned successfully.
	// +optional
	// +nullable
	LastMaintenanceTime *metav1.Time `json:"lastMaintenanceTime,omitempty"`
	// LastCheckTime is when a check last found the repository intact.
	// +optional
	// +nullable
	LastCheckTime *metav1.Time `json:"lastCheckTime,omitempty"`
	// NextCheckPart is the part of the data that the next check reads, from 1.
	// +optional
	NextCheckPart int32 `json:"nextCheckPart,omitempty"`
	// Maintenance has the last operations, the newest first, at most five of each kind.
	// +optional
	// +kubebuilder:validation:MaxItems=20
	Maintenance []Maintenance `json:"maintenance,omitempty"`
	// Served are the words of the requests that were taken up last.
	// +optional
	Served RepositoryRequests `json:"served,omitempty"`
	// Locks are those that were in the repository when it was last looked for what stands in the way; empty if nothing
	// does.
	// +optional
	// +kubebuilder:validation:MaxItems=20
	Locks []RepositoryLock `json:"locks,omitempty"`
	// LocksTime is when that was.
	// +optional
	// +nullable
	LocksTime *metav1.Time `json:"locksTime,omitempty"`
	// Conditions are Intact, Pruned, Unlocked and Maintained.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// OtherClusters are the IDs of other clusters that have snapshots in the repository too, as the last sweep found
	// them, at most ten.
	// +optional
	// +kubebuilder:validation:MaxItems=10
	OtherClusters []string `json:"otherClusters,omitempty"`
	// OrphanCount is how many snapshots there are that this cluster made for backups which are no longer there.
	// +optional
	OrphanCount int32 `json:"orphanCount,omitempty"`
	// Orphans are the first hundred of them.
	// +optional
	// +kubebuilder:validation:MaxItems=100
	Orphans []Orphan `json:"orphans,omitempty"`
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
