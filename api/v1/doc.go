// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package v1 holds the custom resources of group restic.velero.io. Their fields carry the names that Velero's own
// kinds had while restic was built in, so that what users and their scripts know still holds.
//
// +kubebuilder:object:generate=true
// +groupName=restic.velero.io
package v1
