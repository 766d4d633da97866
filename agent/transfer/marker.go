// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer

import (
	"errors"
	"time"

	"k8s.io/utils/clock"

	"github.com/velero-restic/velero-plugin-for-restic/agent/hostpath"
)

// Markers writes and removes the files by which a restored pod's init container learns how its volumes are.
type Markers struct {
	// Finder finds volumes on this node.
	Finder hostpath.Finder
	// Clock tells how long a marker has been there.
	Clock clock.PassiveClock
}

// Ensure writes the marker of the restore: done for an empty reason, else failed. Errors are those of
// hostpath.Finder.Find, WriteDone and WriteFailed.
func (m Markers) Ensure(volume hostpath.Volume, restoreUID, reason string) error {
	dir, err := m.Finder.Find(volume)
	if err != nil {
		return err
	}
	marked, err := hostpath.Marked(dir, restoreUID)
	if err != nil {
		return err
	}
	if reason == "" {
		err = hostpath.WriteDone(dir, restoreUID)
	} else {
		err = hostpath.WriteFailed(dir, restoreUID, reason)
	}
	if err == nil && !marked.IsZero() && m.Clock.Since(marked).Abs() > helperPollTime {
		// The helper has been told, and is still there: it cannot look into the volume. It may have started when the
		// root had its restored mode already, as that of a second pod of the same claim does.
		err = reveal(dir)
	}
	return err
}

// helperPollTime is how long the helper, which looks twice a second, and the kubelet, which tells of its end, are given
// before the volume is opened to them. By then the pod's own containers may run, and must not meet it open.
const helperPollTime = 3 * time.Second

// reveal lets every user reach the markers for as long as it takes the helper to look.
func reveal(dir string) error {
	restoreMode, err := hostpath.PrepareMarkers(dir)
	if err != nil || restoreMode == nil {
		return err
	}
	time.Sleep(helperOpenTime)
	return restoreMode()
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
