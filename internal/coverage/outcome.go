// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import "time"

// Outcome is how the backups of one claim with restic went.
type Outcome struct {
	// Success is when the last one that succeeded ended, zero if none is known; Bytes is the size of the files then and
	// Duration how long it took.
	Success  time.Time
	Bytes    int64
	Duration time.Duration
	// Failure is when the last one that failed or was canceled ended, zero if there is none, and Message says why.
	Failure time.Time
	Message string
}

// failed says whether the last backup that ended did not succeed.
func (o Outcome) failed() bool { return o.Failure.After(o.Success) }
