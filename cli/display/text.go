// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package display

import (
	"strings"
	"unicode"
)

// Line returns a text from the cluster on one line and without control characters, because messages quote file names
// that could contain escape sequences. Line breaks become spaces. Control characters (C0, DEL, C1) and invisible ones,
// such as marks that change the text direction, become question marks.
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
