// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package transfer does the work of the custom resources beside the controllers' workers. A Pool runs jobs, so that a
// worker starts, observes or cancels one and never waits for it; a Mover is what the jobs do: one volume into a
// repository, or out of it.
package transfer
