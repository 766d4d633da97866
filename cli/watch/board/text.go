// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package board

import (
	"fmt"
	"strings"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/cli/display"
)

// Style says what a piece of text is, and so which color it has on a terminal.
type Style int

// The styles.
const (
	Plain Style = iota
	Bold
	Dim
	Bar
	Good
	Warn
	Bad
)

// Span is a piece of text in one style.
type Span struct {
	Text  string
	Style Style
}

// Line is a line of spans.
type Line []Span

// String returns the line's text without styles.
func (l Line) String() string {
	var text strings.Builder
	for _, span := range l {
		text.WriteString(span.Text)
	}
	return text.String()
}

// Width returns how many columns the line takes on a terminal, or a few more.
func (l Line) Width() int {
	sum := 0
	for _, span := range l {
		sum += width(span.Text)
	}
	return sum
}

// wideFrom is the first character that may be two columns wide (Unicode, EastAsianWidth: Hangul Jamo). All from there
// on count as two: a line that is too short does no harm, one that is too long breaks the picture.
const wideFrom = 0x1100

func runeWidth(r rune) int {
	if r < wideFrom {
		return 1
	}
	return 2
}

func width(text string) int {
	sum := 0
	for _, r := range text {
		sum += runeWidth(r)
	}
	return sum
}

// cut returns as much of the text as fits, with an ellipsis where something is left out.
func cut(text string, room int) string {
	if width(text) <= room {
		return text
	}
	if room <= 3 {
		return head(text, room)
	}
	return head(text, room-3) + "..."
}

// shorten leaves out the middle of a name that is too long: its ends tell it from others.
func shorten(text string, room int) string {
	if width(text) <= room {
		return text
	}
	if room < 8 {
		return head(text, room)
	}
	front := (room - 3) / 2
	return head(text, front) + "..." + tail(text, room-3-front)
}

func head(text string, room int) string {
	for at, r := range text {
		if room -= runeWidth(r); room < 0 {
			return text[:at]
		}
	}
	return text
}

func tail(text string, room int) string {
	runes := []rune(text)
	at := len(runes)
	for at > 0 && room >= runeWidth(runes[at-1]) {
		at--
		room -= runeWidth(runes[at])
	}
	return string(runes[at:])
}

// fit cuts a line to so many columns.
func (l Line) fit(room int) Line {
	if l.Width() <= room {
		return l
	}
	var fitted Line
	for _, span := range l {
		needed := width(span.Text)
		if needed > room {
			return append(fitted, Span{cut(span.Text, room), span.Style})
		}
		fitted = append(fitted, span)
		room -= needed
	}
	return fitted
}

func padRight(text string, columns int) string {
	return text + strings.Repeat(" ", max(columns-width(text), 0))
}

func padLeft(text string, columns int) string {
	return strings.Repeat(" ", max(columns-width(text), 0)) + text
}

// speedText is such as "12.3 MiB/s".
func speedText(rate float64) string { return display.Bytes(int64(rate)) + "/s" }

// durationText is such as "7s", "1m20s", "2h05m", "4d03h": two units at most.
func durationText(d time.Duration) string {
	seconds := int64(d.Round(time.Second) / time.Second)
	switch {
	case seconds < 60:
		return fmt.Sprintf("%ds", seconds)
	case seconds < 60*60:
		return fmt.Sprintf("%dm%02ds", seconds/60, seconds%60)
	case seconds < 100*60*60:
		return fmt.Sprintf("%dh%02dm", seconds/3600, seconds/60%60)
	}
	return fmt.Sprintf("%dd%02dh", seconds/86400, seconds/3600%24)
}

// percent is how much of the total is done, 100 only for all of it.
func percent(done, total int64) int {
	switch {
	case total <= 0 || done <= 0:
		return 0
	case done >= total:
		return 100
	}
	return min(int(float64(done)/float64(total)*100), 99)
}

// plural is such as "1 volume" and "2 volumes".
func plural[N int | int64](count N, noun string) string {
	if count == 1 {
		return fmt.Sprintf("1 %s", noun)
	}
	return fmt.Sprintf("%d %ss", count, noun)
}
