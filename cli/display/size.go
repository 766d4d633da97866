// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package display formats values for people: sizes, and texts from the cluster. It uses no terminal and no cluster, so
// that package board can use it.
package display

import "fmt"

// unit returns the largest unit of which the size is at least 1, in bytes, and its name.
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

// Bytes formats a size, such as "67.2 MiB".
func Bytes(bytes int64) string {
	size, name := unit(bytes)
	return inUnit(bytes, size) + " " + name
}

// Ratio formats a part and a total, such as "67.2/150.0 MiB"; only the part if the total is 0.
func Ratio(done, total int64) string {
	if total <= 0 {
		return Bytes(done)
	}
	size, name := unit(max(done, total))
	return inUnit(done, size) + "/" + inUnit(total, size) + " " + name
}
