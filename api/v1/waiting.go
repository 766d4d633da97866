// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package v1

import "strings"

// WaitingReason is a machine-readable cause of a wait. The message beside it explains the cause to people. Later
// versions may add reasons, so the API server does not validate them. The descriptions mark reasons of volumes with V
// and reasons of maintenance operations with M.
type WaitingReason string

// The reasons of a wait. A new volume without a reason waits for the agent on its node.
const (
	// WaitingForRepository (V, M): the ResticRepository is not ready.
	WaitingForRepository WaitingReason = "WaitingForRepository"
	// WaitingForMaintenance (V): a check or prune uses the repository exclusively.
	WaitingForMaintenance WaitingReason = "WaitingForMaintenance"
	// WaitingForLock (V, M): a lock in the repository blocks the operation.
	WaitingForLock WaitingReason = "WaitingForLock"
	// WaitingForSlot (V, M): as many operations run as the settings allow, on the node or in the cluster.
	WaitingForSlot WaitingReason = "WaitingForSlot"
	// WaitingForRetry (V): an attempt was interrupted, and the next one starts soon.
	WaitingForRetry WaitingReason = "WaitingForRetry"
	// WaitingForPod (V, M): a pod is not scheduled or does not run yet: the restored pod, or the pod of a Job.
	WaitingForPod WaitingReason = "WaitingForPod"
	// WaitingForInitContainer (V): the init container of the restored pod does not run yet.
	WaitingForInitContainer WaitingReason = "WaitingForInitContainer"
	// WaitingForSiblingRestore (V): another restore of the same claim, for another pod, is in progress.
	WaitingForSiblingRestore WaitingReason = "WaitingForSiblingRestore"
	// WaitingForBackup (M): a PodVolumeBackup into the repository is in progress.
	WaitingForBackup WaitingReason = "WaitingForBackup"
	// WaitingForRestore (M): a PodVolumeRestore from the repository is not done.
	WaitingForRestore WaitingReason = "WaitingForRestore"
	// WaitingForDaemonSet (M): the agents' DaemonSet does not exist, so that no Job can be created.
	WaitingForDaemonSet WaitingReason = "WaitingForDaemonSet"
)

// Waiting returns what a volume with the phase New waits for, as "waiting: CAUSE". It returns "" for other phases, and
// while no cause is known. Agents that do not know Reason write messages that may begin with "waiting" themselves.
func (s *VolumeStatus) Waiting() string {
	switch {
	case s.Phase != "" && s.Phase != PhaseNew, s.Message == "":
		return ""
	case s.Reason == "" && strings.HasPrefix(s.Message, "waiting"):
		return s.Message
	}
	return "waiting: " + s.Message
}
