// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package terminal

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// The size of a character, and of the margin around the image, in pixels.
const (
	fontSize    = 14
	charWidth   = 8.43 // 0.602 of the font size, as in common monospaced fonts
	lineHeight  = 19
	frameMargin = 14
)

// style is the style of a piece of text.
type style struct {
	color       string
	bold, faint bool
}

// SVG draws a screen, as Styled returns it, with the given number of columns. The title describes the image for screen
// readers.
func SVG(styled string, columns int, title string) string {
	lines := strings.Split(styled, "\n")
	width := int(float64(columns)*charWidth) + 2*frameMargin
	height := len(lines)*lineHeight + 2*frameMargin
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">
<title>%s</title>
<rect width="100%%" height="100%%" rx="8" fill="#1e1e1e"/>
<g font-family="ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="%d" fill="#d4d4d4">
`, width, height, width, height, escape(title), fontSize)
	current := style{}
	for number, line := range lines {
		y := frameMargin + number*lineHeight + fontSize
		var text string
		text, current = spans(line, current)
		fmt.Fprintf(&out, `<text x="%d" y="%d" xml:space="preserve">%s</text>`+"\n", frameMargin, y, text)
	}
	out.WriteString("</g>\n</svg>\n")
	return out.String()
}

func escape(text string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(text)) // writing to a Builder never fails
	return out.String()
}

// spans draws a line that starts in a style, and returns the style at its end. Each span has its width, so that columns
// are aligned in every font.
func spans(line string, current style) (string, style) {
	var out strings.Builder
	for line != "" {
		text, rest, found := strings.Cut(line, "\x1b[")
		if text != "" {
			fmt.Fprintf(&out, `<tspan textLength="%.1f"%s>%s</tspan>`, float64(len([]rune(text)))*charWidth,
				current.attributes(), escape(text))
		}
		if !found {
			break
		}
		sequence, after, _ := strings.Cut(rest, "m")
		current, line = current.after(sequence), after
	}
	return out.String(), current
}

func (s style) attributes() string {
	text := ""
	if s.color != "" {
		text += ` fill="` + s.color + `"`
	}
	if s.bold {
		text += ` font-weight="bold"`
	}
	if s.faint {
		text += ` opacity="0.6"`
	}
	return text
}

// after returns the style after the parameters of an SGR sequence. It ignores parameters that the program does not use.
func (s style) after(parameters string) style {
	colors := [...]string{"#1e1e1e", "#f14c4c", "#23d18b", "#e5c07b", "#3b8eea", "#d670d6", "#29b8db", "#e5e5e5"}
	for parameter := range strings.SplitSeq(parameters, ";") {
		code, err := strconv.Atoi(parameter)
		if err != nil {
			code = 0 // an empty parameter means 0
		}
		switch {
		case code == 0:
			s = style{}
		case code == 1:
			s.bold = true
		case code == 2:
			s.faint = true
		case code == 22:
			s.bold, s.faint = false, false
		case code >= 30 && code <= 37:
			s.color = colors[code-30]
		case code == 39:
			s.color = ""
		}
	}
	return s
}
