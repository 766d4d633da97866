// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package reprovision has claims whose content comes back through restic bound to fresh volumes. A restore would
// otherwise bind a claim to the released volume that it had, and leave it pending for ever, since Velero only provides
// anew for what it backed up itself. Its BackupItemAction marks the claims and their volumes in the backup, its
// RestoreItemAction acts on the marks.
package reprovision

// PluginName is the name that both actions are registered under.
const PluginName = "velero.io/restic-volume"

const (
	kindClaim  = "PersistentVolumeClaim"
	kindVolume = "PersistentVolume"
)
