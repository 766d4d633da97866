// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// RepositoryPhase is whether a repository can be used.
// +kubebuilder:validation:Enum=New;Ready;NotReady
type RepositoryPhase string

// The phases. An empty phase means New.
const (
	// RepositoryNew: not opened yet.
	RepositoryNew RepositoryPhase = "New"
	// RepositoryReady: it exists and opens with the password.
	RepositoryReady RepositoryPhase = "Ready"
	// RepositoryNotReady: it cannot be used; status.message has the cause, and what to do.
	RepositoryNotReady RepositoryPhase = "NotReady"
)

// ResticRepositorySpec defines which repository it is, and how often to maintain it.
// +kubebuilder:validation:XValidation:rule="self.volumeNamespace == oldSelf.volumeNamespace && self.backupStorageLocation == oldSelf.backupStorageLocation",message="volumeNamespace and backupStorageLocation cannot be changed: they identify the repository"
type ResticRepositorySpec struct {
	// VolumeNamespace is the namespace whose volumes the repository holds.
	// +kubebuilder:validation:MinLength=1
	VolumeNamespace string `json:"volumeNamespace"`
	// BackupStorageLocation is the name of the BackupStorageLocation whose bucket holds the repository.
	// +kubebuilder:validation:MinLength=1
	BackupStorageLocation string `json:"backupStorageLocation"`
	// ResticIdentifier is restic's URL of the repository, derived from the storage location.
	// +optional
	ResticIdentifier string `json:"resticIdentifier,omitempty"`
	// OpenOnly prevents the initialization of a missing repository. A restore sets it when it creates this object,
	// because an empty repository has nothing to restore. The first backup removes it.
	// +optional
	OpenOnly bool `json:"openOnly,omitempty"`
	// MaintenanceFrequency is the time between a successful prune and the next one. With 0, the repository is pruned
	// only on request.
	// +optional
	// +kubebuilder:default="168h"
	MaintenanceFrequency metav1.Duration `json:"maintenanceFrequency,omitempty"`
	// CheckFrequency is the time between a successful check and the next one. With 0, the repository is checked only on
	// request.
	// +optional
	// +kubebuilder:default="168h"
	CheckFrequency metav1.Duration `json:"checkFrequency,omitempty"`
	// CheckParts is the number of parts that the data is divided into. Each check verifies the repository's structure
	// and reads the next part, so that CheckParts checks read all data. With 1, each check reads everything; with 0, a
	// check reads no data.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=256
	CheckParts int32 `json:"checkParts,omitempty"`
	// Requests ask for single operations, to be started as soon as possible.
	// +optional
	Requests RepositoryRequests `json:"requests,omitempty"`
}

// RepositoryRequests has a request ID for each operation: any text that the requester chooses, such as the time. Each
// new ID starts the operation once, and the operation's entry in status.maintenance has the same ID.
type RepositoryRequests struct {
	// Check asks for a check.
	// +optional
	Check string `json:"check,omitempty"`
	// Prune asks for a prune.
	// +optional
	Prune string `json:"prune,omitempty"`
	// Unlock asks for the removal of locks that restic considers stale, and of locks of pods of this cluster that no
	// longer exist. Other locks stay.
	// +optional
	Unlock string `json:"unlock,omitempty"`
	// Snapshots asks for a list of the repository's snapshots, printed in the log of the Job's pod. Listing takes no
	// lock, and runs in parallel with backups, restores and other maintenance.
	// +optional
	Snapshots string `json:"snapshots,omitempty"`
}

// MaintenanceOperation is an operation on a whole repository.
// +kubebuilder:validation:Enum=Check;Prune;Unlock;Snapshots
type MaintenanceOperation string

// The operations, named after restic's commands.
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

// MaintenanceResult is the state of an operation, and its outcome.
// +kubebuilder:validation:Enum=Running;Succeeded;Failed;Locked
type MaintenanceResult string

// The results.
const (
	// MaintenanceRunning: the operation's Job exists or is being created.
	MaintenanceRunning MaintenanceResult = "Running"
	// MaintenanceSucceeded: the operation succeeded.
	MaintenanceSucceeded MaintenanceResult = "Succeeded"
	// MaintenanceFailed: the operation failed, or a check found damage; the message says which.
	MaintenanceFailed MaintenanceResult = "Failed"
	// MaintenanceLocked: another process held the repository's lock. The operation is retried.
	MaintenanceLocked MaintenanceResult = "Locked"
)

// MaxMaintenance is how many operations of each kind a repository's status lists.
const MaxMaintenance = 5

// Maintenance is one operation on a repository, running or finished.
type Maintenance struct {
	// Operation is the operation.
	Operation MaintenanceOperation `json:"operation"`
	// Result is the state of the operation, and its outcome.
	Result MaintenanceResult `json:"result"`
	// Reason is the machine-readable cause of a wait that Message describes, one of the WaitingReasons. It is set while
	// a running operation waits for its pod, and for an operation with the result Locked.
	// +optional
	Reason WaitingReason `json:"reason,omitempty"`
	// Message is the human-readable outcome: how much was freed, what is damaged, why the operation failed or waits.
	// +optional
	Message string `json:"message,omitempty"`
	// Request is the ID of the request; empty if the operation was started by its schedule.
	// +optional
	Request string `json:"request,omitempty"`
	// Job is the name of the Job in the namespace of this object; empty if no Job could be created.
	// +optional
	Job string `json:"job,omitempty"`
	// Host is the host whose locks an unlock removes; empty for locks that restic considers stale.
	// +optional
	Host string `json:"host,omitempty"`
	// Damaged is true if a check found damage. It is false if the check itself failed.
	// +optional
	Damaged bool `json:"damaged,omitempty"`
	// Part is the number of the part of the data that a check read, from 1; 0 if it read none.
	// +optional
	Part int32 `json:"part,omitempty"`
	// StartTime is when the operation was started.
	StartTime metav1.Time `json:"startTime"`
	// CompletionTime is when the operation ended.
	// +optional
	// +nullable
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	// Duration is how long the operation took.
	// +optional
	Duration *metav1.Duration `json:"duration,omitempty"`
}

// PendingMaintenance is an operation that is due, or requested, and cannot start yet.
type PendingMaintenance struct {
	// Operation is the operation.
	Operation MaintenanceOperation `json:"operation"`
	// Request is the ID of the request; empty if the operation is due by its schedule.
	// +optional
	Request string `json:"request,omitempty"`
	// Since is when the operation became due.
	Since metav1.Time `json:"since"`
	// Reason is the machine-readable cause of the wait, one of the WaitingReasons.
	Reason WaitingReason `json:"reason"`
	// Message is the human-readable cause of the wait.
	// +optional
	Message string `json:"message,omitempty"`
}

// Condition types of a ResticRepository. docs/reference/events.md is generated from these comments.
const (
	// ConditionIntact: true if the last check succeeded, with the reason Maintained; false if it found damage, with the
	// reason Damaged. It does not exist before the first check.
	ConditionIntact = "Intact"
	// ConditionPruned: true if the last prune succeeded, with the reason Maintained; false if it failed, with the
	// reason MaintenanceFailed. It does not exist before the first prune.
	ConditionPruned = "Pruned"
	// ConditionUnlocked: false while a lock blocks an operation, with the reason Locked and the lock's holder in the
	// message, or Waiting while the leader reads the locks after an unlock. True, with the reason Unlocked, when no
	// lock blocks an operation any more.
	ConditionUnlocked = "Unlocked"
	// ConditionMaintained: false while an operation that is due cannot start, with the reason Waiting, and after one
	// failed, with the reason MaintenanceFailed. Otherwise true, with the reason Maintained.
	ConditionMaintained = "Maintained"
)

// MaxLocks is how many locks a repository's status lists.
const MaxLocks = 20

// RepositoryLock is one of restic's locks in the repository.
type RepositoryLock struct {
	// ID is the lock's ID.
	ID string `json:"id"`
	// Host is the host name of the lock's holder; for an agent, the name of its pod.
	Host string `json:"host"`
	// PID is the process ID of the holder on that host.
	// +optional
	PID int64 `json:"pid,omitempty"`
	// Exclusive locks block all other operations. The others block only exclusive operations: forget, prune and check.
	// +optional
	Exclusive bool `json:"exclusive,omitempty"`
	// Time is when the lock was last refreshed. A running holder refreshes it every five minutes.
	Time metav1.Time `json:"time"`
	// Holder describes the holder, as far as this cluster knows it, and when the lock will be removed if its holder is
	// gone.
	// +optional
	Holder string `json:"holder,omitempty"`
	// Abandoned is true if the holder was a pod of this cluster that no longer exists, so that the lock will be
	// removed. +optional
	Abandoned bool `json:"abandoned,omitempty"`
}

// MaxOrphans is how many orphans a repository's status lists; OrphanCount counts all of them.
const MaxOrphans = 100

// MaxOtherClusters is how many other clusters a repository's status lists.
const MaxOtherClusters = 10

// Orphan is a snapshot that this cluster created for a backup that no longer exists.
type Orphan struct {
	// SnapshotID is the full ID of the snapshot.
	SnapshotID string `json:"snapshotID"`
	// Backup is the name of the Velero backup that the snapshot was created for.
	// +optional
	Backup string `json:"backup,omitempty"`
	// Pod is the name of the pod that the volume was backed up from.
	// +optional
	Pod string `json:"pod,omitempty"`
	// Volume is the volume's name in the pod's spec.
	// +optional
	Volume string `json:"volume,omitempty"`
	// FirstSeen is when the orphan was first reported. If it is still an orphan after the grace period, the snapshot is
	// removed.
	FirstSeen metav1.Time `json:"firstSeen"`
}

// ResticRepositoryStatus is the status of the repository.
type ResticRepositoryStatus struct {
	// Phase is whether the repository can be used.
	// +optional
	Phase RepositoryPhase `json:"phase,omitempty"`
	// Message is why the repository cannot be used, and what to do.
	// +optional
	Message string `json:"message,omitempty"`
	// ObservedGeneration is the generation of the spec that the status reflects.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// ResticIdentifier is restic's URL of the repository, as last used.
	// +optional
	ResticIdentifier string `json:"resticIdentifier,omitempty"`
	// RepositoryID is the ID that restic gave the repository when it was initialized. Another ID at the same URL means
	// that the repository was replaced.
	// +optional
	RepositoryID string `json:"repositoryID,omitempty"`
	// LastOpenedTime is when the leader last opened the repository with its password. It opens a ready repository every
	// hour, and another one every 10 seconds.
	// +optional
	// +nullable
	LastOpenedTime *metav1.Time `json:"lastOpenedTime,omitempty"`
	// LastMaintenanceTime is when the repository was last pruned successfully.
	// +optional
	// +nullable
	LastMaintenanceTime *metav1.Time `json:"lastMaintenanceTime,omitempty"`
	// LastCheckTime is when a check last succeeded.
	// +optional
	// +nullable
	LastCheckTime *metav1.Time `json:"lastCheckTime,omitempty"`
	// NextCheckPart is the number of the part of the data that the next check reads, from 1.
	// +optional
	NextCheckPart int32 `json:"nextCheckPart,omitempty"`
	// Maintenance lists the last operations, the newest first, at most five of each kind.
	// +optional
	// +kubebuilder:validation:MaxItems=20
	Maintenance []Maintenance `json:"maintenance,omitempty"`
	// Pending is the operation that is due, or requested, and cannot start yet.
	// +optional
	Pending *PendingMaintenance `json:"pending,omitempty"`
	// Served has the IDs of the requests that were started last.
	// +optional
	Served RepositoryRequests `json:"served,omitempty"`
	// Locks are the locks in the repository at LocksTime. It is empty if no lock blocks an operation.
	// +optional
	// +kubebuilder:validation:MaxItems=20
	Locks []RepositoryLock `json:"locks,omitempty"`
	// LocksTime is when the leader last read the locks.
	// +optional
	// +nullable
	LocksTime *metav1.Time `json:"locksTime,omitempty"`
	// Conditions are Intact, Pruned, Unlocked and Maintained.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// OtherClusters are the IDs of other clusters with snapshots in the repository, as of the last orphan sweep, at
	// most ten.
	// +optional
	// +kubebuilder:validation:MaxItems=10
	OtherClusters []string `json:"otherClusters,omitempty"`
	// OrphanCount is the number of snapshots that this cluster created for backups that no longer exist.
	// +optional
	OrphanCount int32 `json:"orphanCount,omitempty"`
	// Orphans are the first hundred of these snapshots.
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
