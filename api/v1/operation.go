// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package v1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// VolumeOperation is the common interface of PodVolumeBackup and PodVolumeRestore, for code that carries out either.
// +kubebuilder:object:generate=false
type VolumeOperation interface {
	metav1.Object
	// VolumeStatus returns the part of the status that both kinds share. Changing it changes the object.
	VolumeStatus() *VolumeStatus
	// CancelRequested returns spec.cancel.
	CancelRequested() bool
	// Skipped returns why the volume must not be transferred; nil if it must.
	Skipped() *SkipReason
	// Deadline returns when the operation times out; the zero time if it has no timeout.
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
