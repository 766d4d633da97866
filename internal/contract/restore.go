// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package contract

import "path"

// RestoreContainer is the name of the init container that holds a restored pod until its volumes are there. It must
// be neither restore-wait nor restic-wait: Velero's own action removes those
// (velero v1.18.3, pkg/restore/actions/pod_volume_restore_action.go).
const RestoreContainer = "restic-restore-wait"

// Paths and arguments of that container.
const (
	// RestoreVolumesDir is where each volume is mounted, in a folder with the volume's name.
	RestoreVolumesDir = "/restores"
	// RestoreHelperCommand is the helper's path in its image. The restore's UID is its last argument.
	RestoreHelperCommand = "/velero-restic-restore-helper"
	// DefaultRestoreHelperImage is the helper's repository, without a tag.
	DefaultRestoreHelperImage = "velero/velero-restic-restore-helper"
)

// MarkerDir is the folder at the root of a restored volume in which the agent tells the helper how it went. It is
// left out of backups and removed once the helper has gone.
const MarkerDir = ".velero"

// DoneMarker returns the path, relative to the volume's root, of the empty file that says that the volume was
// restored for the restore of this UID. Velero <= 1.16 used the same path.
func DoneMarker(restoreUID string) string { return path.Join(MarkerDir, restoreUID) }

// FailedMarker returns the path, relative to the volume's root, of the file that says that the restore of the volume
// ended without its data. Its content is the reason, for people, at most MarkerReasonMax bytes.
func FailedMarker(restoreUID string) string { return DoneMarker(restoreUID) + ".failed" }

// MarkerReasonMax bounds the reason in a failed marker, in bytes. It is the size of a container's termination message
// (Kubernetes: 4096 bytes).
const MarkerReasonMax = 4096
