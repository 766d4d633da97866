// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer

import (
	"errors"

	"github.com/velero-restic/velero-plugin-for-restic/agent/hostpath"
)

// Markers writes and removes the files by which a restored pod's init container learns how its volumes are.
type Markers struct {
	// Finder finds volumes on this node.
	Finder hostpath.Finder
}

// Ensure writes the marker of the restore: done for an empty reason, else failed. Errors are those of
// hostpath.Finder.Find, WriteDone and WriteFailed.
func (m Markers) Ensure(volume hostpath.Volume, restoreUID, reason string) error {
	dir, err := m.Finder.Find(volume)
	if err != nil {
		return err
	}
	if reason != "" {
		return hostpath.WriteFailed(dir, restoreUID, reason)
	}
	return hostpath.WriteDone(dir, restoreUID)
}

// Remove takes the markers of the restore away. A volume that is not there any more has none.
func (m Markers) Remove(volume hostpath.Volume, restoreUID string) error {
	dir, err := m.Finder.Find(volume)
	if errors.Is(err, hostpath.ErrNotMounted) {
		return nil
	}
	if err != nil {
		return err
	}
	return hostpath.RemoveMarkers(dir, restoreUID)
}
