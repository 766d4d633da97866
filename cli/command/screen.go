// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

// Screen describes the terminal of a stream.
type Screen struct {
	// Terminal is true if the stream is a terminal that supports redrawing.
	Terminal bool
	// Color is true if the stream supports colors.
	Color bool
	// Size returns the number of columns and rows; 0 if unknown.
	Size func() (columns, rows int)
}

// Style is the style of a text.
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

// Palette applies styles if colors are enabled.
type Palette struct{ enabled bool }

// Paint returns the text in a style, or unchanged without colors.
func (p Palette) Paint(style Style, text string) string {
	if !p.enabled || style == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(style) + "m" + text + "\x1b[0m"
}
