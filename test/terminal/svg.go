// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package terminal

import (
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
)

// The size of a character, and of the frame around the picture, in pixels.
const (
	fontSize    = 14
	charWidth   = 8.43 // of the usual monospaced fonts: 0.602 of the size
	lineHeight  = 19
	frameMargin = 14
)

// look is how a piece of text is shown.
type look struct {
	color       string
	bold, faint bool
}

// SVG draws a screen as Styled returns it, so many columns wide. What it is of, is told to those who cannot see it.
func SVG(styled string, columns int, what string) string {
	lines := strings.Split(styled, "\n")
	width := int(float64(columns)*charWidth) + 2*frameMargin
	height := len(lines)*lineHeight + 2*frameMargin
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">
<title>%s</title>
<rect width="100%%" height="100%%" rx="8" fill="#1e1e1e"/>
<g font-family="ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="%d" fill="#d4d4d4">
`, width, height, width, height, escape(what), fontSize)
	current := look{}
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
	_ = xml.EscapeText(&out, []byte(text)) // a Builder takes everything
	return out.String()
}

// spans draws a line that begins in a look, and returns the look in which it ends. Each piece says how wide it is, so
// that columns stay columns in every font.
func spans(line string, current look) (string, look) {
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

func (l look) attributes() string {
	text := ""
	if l.color != "" {
		text += ` fill="` + l.color + `"`
	}
	if l.bold {
		text += ` font-weight="bold"`
	}
	if l.faint {
		text += ` opacity="0.6"`
	}
	return text
}

// after returns the look after the parameters of an SGR sequence. Those that the program does not use are passed over.
func (l look) after(parameters string) look {
	colors := [...]string{"#1e1e1e", "#f14c4c", "#23d18b", "#e5c07b", "#3b8eea", "#d670d6", "#29b8db", "#e5e5e5"}
	for parameter := range strings.SplitSeq(parameters, ";") {
		code, err := strconv.Atoi(parameter)
		if err != nil {
			code = 0 // an empty one counts as 0
		}
		switch {
		case code == 0:
			l = look{}
		case code == 1:
			l.bold = true
		case code == 2:
			l.faint = true
		case code == 22:
			l.bold, l.faint = false, false
		case code >= 30 && code <= 37:
			l.color = colors[code-30]
		case code == 39:
			l.color = ""
		}
	}
	return l
}
