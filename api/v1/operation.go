// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// VolumeOperation is what a PodVolumeBackup and a PodVolumeRestore have in common for whoever carries them out.
// +kubebuilder:object:generate=false
type VolumeOperation interface {
	metav1.Object
	// VolumeStatus returns the part of the status that both kinds have, to be read and changed.
	VolumeStatus() *VolumeStatus
	// CancelRequested says whether somebody asked to stop it.
	CancelRequested() bool
	// Skipped returns the reason for which nothing is to be done, nil if there is something to do.
	Skipped() *SkipReason
	// Deadline is when it must be done; the zero time if it has no bound of its own.
	Deadline() metav1.Time
}

var (
	_ VolumeOperation = &PodVolumeBackup{}
	_ VolumeOperation = &PodVolumeRestore{}
)

// VolumeStatus implements VolumeOperation.
func (b *PodVolumeBackup) VolumeStatus() *VolumeStatus { return &b.Status.VolumeStatus }

// CancelRequested implements VolumeOperation.
func (b *PodVolumeBackup) CancelRequested() bool { return b.Spec.Cancel }

// Skipped implements VolumeOperation.
func (b *PodVolumeBackup) Skipped() *SkipReason { return b.Spec.Skip }

// Deadline implements VolumeOperation.
func (b *PodVolumeBackup) Deadline() metav1.Time {
	return deadline(b.CreationTimestamp, b.Spec.Timeout)
}

// VolumeStatus implements VolumeOperation.
func (r *PodVolumeRestore) VolumeStatus() *VolumeStatus { return &r.Status.VolumeStatus }

// CancelRequested implements VolumeOperation.
func (r *PodVolumeRestore) CancelRequested() bool { return r.Spec.Cancel }

// Skipped implements VolumeOperation.
func (r *PodVolumeRestore) Skipped() *SkipReason { return r.Spec.Skip }

// Deadline implements VolumeOperation.
func (r *PodVolumeRestore) Deadline() metav1.Time {
	return deadline(r.CreationTimestamp, r.Spec.Timeout)
}

func deadline(created metav1.Time, timeout metav1.Duration) metav1.Time {
	if timeout.Duration <= 0 {
		return metav1.Time{}
	}
	return metav1.NewTime(created.Add(timeout.Duration))
}
