// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package waiting describes what an operation on a volume or on a repository waits for.
package waiting

import (
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// Cause is what an operation waits for. The zero Cause means that it need not wait.
type Cause struct {
	// Reason is for programs.
	Reason resticv1.WaitingReason
	// Message is for people: a clause that fits after "waiting: ".
	Message string
}

// None returns whether there is nothing to wait for.
func (c Cause) None() bool { return c == Cause{} }
