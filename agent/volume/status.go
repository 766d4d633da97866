// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volume

import (
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

func SetWarnings(status *resticv1.VolumeStatus, warnings restic.Warnings) {
	first := warnings.First
	if len(first) > resticv1.MaxWarnings {
		first = first[:resticv1.MaxWarnings]
	}
	status.Warnings, status.WarningCount = first, warnings.Count
}

func (l *Lifecycle[R]) Finish(status *resticv1.VolumeStatus, phase resticv1.VolumePhase, message string) {
	Finish(status, phase, message, l.Clock)
}
