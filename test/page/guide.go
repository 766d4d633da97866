// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package page

// Guides are all that pages need to be followed. A page without one is followed as it stands.
func Guides() []Guide {
	return []Guide{platforms()}
}

// GuideTo returns the guide to a page, or an empty one.
func GuideTo(file string) Guide {
	for _, guide := range Guides() {
		if guide.File == file {
			return guide
		}
	}
	return Guide{File: file}
}
