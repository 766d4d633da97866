// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import "fmt"

// Bytes shows a size for people, in the greatest of B, KiB, … EiB of which there is at least one.
func Bytes(size int64) string {
	const step = 1024
	if size < step {
		return fmt.Sprintf("%d B", size)
	}
	value, unit := float64(size)/step, 0
	for value >= step {
		value, unit = value/step, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[unit])
}
