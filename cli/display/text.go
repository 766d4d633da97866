// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package display

import (
	"strings"
	"unicode"
)

// Line makes one line of a text that the cluster holds, without anything that a terminal would obey: messages quote
// names of files, which may be anything. Line breaks become spaces, and control characters, C0, DEL and C1, question
// marks; so does what cannot be seen, such as marks that turn the writing round.
func Line(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsGraphic(r):
			return '?'
		}
		return r
	}, text)
}
