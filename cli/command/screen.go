// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

// Screen is what a stream is shown on.
type Screen struct {
	// Terminal says that somebody looks: a picture may be drawn again over itself.
	Terminal bool
	// Color says that colors may be used.
	Color bool
	// Size returns columns and rows, 0 for unknown ones.
	Size func() (columns, rows int)
}

// Style is how a text is shown.
type Style string

// The styles, as parameters of ECMA-48's SGR sequence.
const (
	Plain Style = ""
	Good  Style = "32"
	Warn  Style = "33"
	Bad   Style = "31"
	Dim   Style = "2"
	Bold  Style = "1"
)

// Palette colors texts, or does not.
type Palette struct{ on bool }

// Paint returns the text in a style, or as it is where there are no colors.
func (p Palette) Paint(style Style, text string) string {
	if !p.on || style == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(style) + "m" + text + "\x1b[0m"
}
