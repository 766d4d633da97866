// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// defaultFrequency is how often a new repository is pruned and checked: the default in the custom resource definition.
// The API server fills that in only where a field is absent, and a metav1.Duration of 0 is sent as "0s".
const defaultFrequency = 7 * 24 * time.Hour

// ForNamespace returns the ResticRepository of a namespace's volumes in a storage location, as it is first created:
// the same name and labels for the same arguments. A maintenance of 0 is the default.
func ForNamespace(
	veleroNamespace, volumeNamespace, location string, maintenance time.Duration,
) *resticv1.ResticRepository {
	if maintenance == 0 {
		maintenance = defaultFrequency
	}
	return &resticv1.ResticRepository{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: veleroNamespace,
			Name:      contract.RepositoryName(volumeNamespace, location),
			Labels: map[string]string{
				contract.LabelVolumeNamespace:   contract.LabelValue(volumeNamespace),
				contract.LabelStorageLocation:   contract.LabelValue(location),
				contract.LabelExcludeFromBackup: "true",
			},
		},
		Spec: resticv1.ResticRepositorySpec{
			VolumeNamespace:       volumeNamespace,
			BackupStorageLocation: location,
			MaintenanceFrequency:  metav1.Duration{Duration: maintenance},
			CheckFrequency:        metav1.Duration{Duration: defaultFrequency},
		},
	}
}
