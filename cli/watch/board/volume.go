// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package board holds what a person who watches a backup or a restore is to see: the volumes with their phases, how
// fast each goes and how long it will take, and the lines that say so on a terminal of any size. It is pure: it reads
// no clock, and neither terminal nor cluster.
package board

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// Volume is one volume of the backup or restore, as its object said it last.
type Volume struct {
	// Key is the name of the object. Label is NAMESPACE/POD/VOLUME, for people.
	Key, Label string
	// Phase is New where the object says none.
	Phase resticv1.VolumePhase
	// Done of Total bytes are done; Total is 0 while it is not known.
	Done, Total int64
	// Stored is how many bytes a backup added to the repository, packed; 0 for restores and until it is known.
	Stored int64
	// Message says why the phase is what it is, or what is waited for.
	Message string
	// Warnings counts problems that did not fail the volume.
	Warnings int64
	// Node is where it happens, as far as that is known.
	Node string
	// Started, Heartbeat and Completed are the status's times, and Deadline that of the object; zero where there is
	// none.
	Started, Heartbeat, Completed, Deadline time.Time
}

// OfBackup returns what a PodVolumeBackup says.
func OfBackup(backup *resticv1.PodVolumeBackup) Volume {
	volume := ofOperation(backup)
	volume.Label = label(backup.Spec.Pod.Namespace, backup.Spec.Pod.Name, backup.Spec.Volume)
	volume.Node = backup.Spec.Node
	if summary := backup.Status.Summary; summary != nil {
		volume.Stored = summary.BytesAddedPacked
	}
	return volume
}

// OfRestore returns what a PodVolumeRestore says.
func OfRestore(restore *resticv1.PodVolumeRestore) Volume {
	volume := ofOperation(restore)
	volume.Label = label(restore.Spec.Pod.Namespace, restore.Spec.Pod.Name, restore.Spec.Volume)
	volume.Node = restore.Status.Node
	return volume
}

func label(namespace, pod, volume string) string { return namespace + "/" + pod + "/" + volume }

func ofOperation(operation resticv1.VolumeOperation) Volume {
	status := operation.VolumeStatus()
	volume := Volume{
		Key: operation.GetName(), Phase: cmp.Or(status.Phase, resticv1.PhaseNew),
		Done: max(status.Progress.BytesDone, 0), Total: max(status.Progress.TotalBytes, 0),
		Message: status.Message, Warnings: status.WarningCount,
		Started: timeOf(status.StartTimestamp), Heartbeat: timeOf(status.HeartbeatTimestamp),
		Completed: timeOf(status.CompletionTimestamp), Deadline: operation.Deadline().Time,
	}
	if skip := operation.Skipped(); skip != nil {
		volume.Phase, volume.Message = resticv1.PhaseSkipped, skip.Reason+": "+skip.Message
	}
	return volume
}

func timeOf(stamp *metav1.Time) time.Time {
	if stamp == nil {
		return time.Time{}
	}
	return stamp.Time
}

// took is how long a finished volume was worked on; 0 if that is not known.
func (v *Volume) took() time.Duration {
	if v.Started.IsZero() || v.Completed.IsZero() {
		return 0
	}
	return max(v.Completed.Sub(v.Started), 0)
}
