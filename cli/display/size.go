// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package display is how commands show values to people: sizes, and texts that the cluster holds. It is pure, so that
// package board may use it, too.
package display

import "fmt"

// unit returns the greatest of B, KiB, … EiB in which a number of bytes is at least 1, and its size.
func unit(bytes int64) (float64, string) {
	size, name := 1.0, "B"
	for _, next := range []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"} {
		if float64(bytes) < size*1024 {
			break
		}
		size, name = size*1024, next
	}
	return size, name
}

func inUnit(bytes int64, size float64) string {
	if size == 1 {
		return fmt.Sprint(bytes)
	}
	return fmt.Sprintf("%.1f", float64(bytes)/size)
}

// Bytes is such as "67.2 MiB".
func Bytes(bytes int64) string {
	size, name := unit(bytes)
	return inUnit(bytes, size) + " " + name
}

// Ratio is such as "67.2/150.0 MiB"; with the bytes alone where there is no total.
func Ratio(done, total int64) string {
	if total <= 0 {
		return Bytes(done)
	}
	size, name := unit(max(done, total))
	return inUnit(done, size) + "/" + inUnit(total, size) + " " + name
}
