// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package v1 defines the custom resources of group restic.velero.io. Their fields have the names that Velero's own
// kinds had in the releases that included restic, so that existing scripts keep working.
//
// +kubebuilder:object:generate=true
// +groupName=restic.velero.io
package v1
