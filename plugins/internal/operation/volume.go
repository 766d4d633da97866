// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package operation

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// Volume is one custom resource of an operation: the common part of a PodVolumeBackup and a PodVolumeRestore. Its
// pointers point into Object, so a change through them changes the object.
type Volume struct {
	Object  client.Object
	Name    string // of the volume in the pod
	Status  *resticv1.VolumeStatus
	Skip    *resticv1.SkipReason
	Timeout time.Duration
	Cancel  *bool
}

// BackupVolume returns a PodVolumeBackup as a Volume.
func BackupVolume(object *resticv1.PodVolumeBackup) *Volume {
	return &Volume{
		Object: object, Name: object.Spec.Volume, Status: &object.Status.VolumeStatus, Skip: object.Spec.Skip,
		Timeout: object.Spec.Timeout.Duration, Cancel: &object.Spec.Cancel,
	}
}

// RestoreVolume returns a PodVolumeRestore as a Volume.
func RestoreVolume(object *resticv1.PodVolumeRestore) *Volume {
	return &Volume{
		Object: object, Name: object.Spec.Volume, Status: &object.Status.VolumeStatus, Skip: object.Spec.Skip,
		Timeout: object.Spec.Timeout.Duration, Cancel: &object.Spec.Cancel,
	}
}

// done returns whether the volume is in its final state. A volume that must be skipped is done even before the leader
// has set its phase.
func (v *Volume) done() bool { return v.Skip != nil || v.Status.Phase.Final() }

// waiting returns whether no agent has started the volume.
func (v *Volume) waiting() bool {
	return v.Status.Phase == "" || v.Status.Phase == resticv1.PhaseNew
}

// overdue returns whether the volume's timeout has passed.
func (v *Volume) overdue(now time.Time) bool {
	return v.Timeout > 0 && now.After(v.Object.GetCreationTimestamp().Add(v.Timeout))
}

// updated returns the latest time in the status.
func (v *Volume) updated() time.Time {
	var last time.Time
	for _, at := range []*time.Time{
		timeOf(v.Status.StartTimestamp), timeOf(v.Status.HeartbeatTimestamp), timeOf(v.Status.CompletionTimestamp),
	} {
		if at != nil && at.After(last) {
			last = *at
		}
	}
	return last
}
