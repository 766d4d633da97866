// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package selection

import (
	"slices"
	"strings"
)

// VolumeNames reads a comma-separated list of names of volumes: the value of contract.AnnotationVolumesToBackup or
// contract.AnnotationVolumesToExclude. Space around names, empty entries and repetitions do not count.
func VolumeNames(value string) []string {
	var names []string
	for name := range strings.SplitSeq(value, ",") {
		name = strings.TrimSpace(name)
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
