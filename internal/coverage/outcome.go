// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import "time"

// Outcome is the outcome of the restic backups of one claim.
type Outcome struct {
	// Success is when the last successful one ended, zero if none is known; Bytes is the size of its files in bytes,
	// and Duration how long it took.
	Success  time.Time
	Bytes    int64
	Duration time.Duration
	// Failure is when the last failed or canceled one ended, zero if there is none; Message is its cause.
	Failure time.Time
	Message string
}

// failed returns whether the last backup failed.
func (o Outcome) failed() bool { return o.Failure.After(o.Success) }
