// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package board

import (
	"fmt"
	"strings"
	"time"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/display"
)

const (
	// oneLineFrom is from how many columns on a volume takes one line; below that it takes two.
	oneLineFrom = 80
	minBar      = 12
	maxBar      = 40
)

// Frame returns the picture of this moment for a terminal: at most so many lines, none wider than so many columns.
// Where there is no room for every volume, those that are at work come first, and the last line counts the others.
func (b *Board) Frame(now time.Time, columns, lines int) []Line {
	columns, lines = max(columns, 1), max(lines, 1)
	frame := wrap(b.heading(now), columns)
	rows := b.byRank()
	each := 1
	if columns < oneLineFrom {
		each = 2
	}
	room := lines - len(frame)
	shown := rows
	if len(rows)*each > room {
		shown = rows[:min(max((room-1)/each, 0), len(rows))]
	}
	layout := newLayout(now, shown, columns)
	for _, r := range shown {
		frame = append(frame, layout.lines(r)...)
	}
	if rest := rows[len(shown):]; len(rest) > 0 {
		frame = append(frame, summaryOf(rest))
	}
	frame = frame[:min(len(frame), lines)]
	for i := range frame {
		frame[i] = frame[i].fit(columns)
	}
	return frame
}

// heading says how the whole is doing, in pieces that may stand on lines of their own.
func (b *Board) heading(now time.Time) []Line {
	o := b.operation
	pieces := []Line{{{o.Kind + " " + display.Line(o.Name), Bold}}, {{display.Line(o.Phase), b.phaseStyle()}}}
	add := func(style Style, format string, args ...any) {
		pieces = append(pieces, Line{{fmt.Sprintf(format, args...), style}})
	}
	if o.Detail != "" {
		add(Plain, "%s", display.Line(o.Detail))
	}
	s := b.sums(now)
	switch {
	case o.Final && !o.Completed.IsZero() && !o.Started.IsZero():
		add(Plain, "took %s", durationText(o.Completed.Sub(o.Started)))
	case !o.Started.IsZero():
		add(Plain, "%s so far", durationText(max(now.Sub(o.Started), 0)))
	}
	if o.Final {
		add(countStyle(int64(o.Errors), Bad), "%s", plural(o.Errors, "error"))
		add(countStyle(int64(o.Warnings), Warn), "%s", plural(o.Warnings, "warning"))
	} else if !s.deadline.IsZero() {
		add(Plain, "deadline in %s", durationText(max(s.deadline.Sub(now), 0)))
	}
	return append(pieces, s.pieces()...)
}

func (b *Board) phaseStyle() Style {
	switch {
	case b.operation.Final && b.operation.Good:
		return Good
	case b.operation.Final:
		return Bad
	case strings.HasSuffix(b.operation.Phase, "PartiallyFailed"):
		return Warn
	}
	return Plain
}

func countStyle(count int64, bad Style) Style {
	if count > 0 {
		return bad
	}
	return Plain
}

// pieces say what the volumes come to, from a new line on.
func (s sums) pieces() []Line {
	counts := plural(s.total, "volume")
	if s.total > 0 {
		counts += ": " + strings.Join(s.counts(), ", ")
	}
	pieces := []Line{nil, {{counts, countStyle(int64(s.failed), Bad)}}}
	if s.warnings > 0 {
		pieces = append(pieces, Line{{plural(s.warnings, "warning") + " of volumes", Warn}})
	}
	text := display.Bytes(s.doneBytes)
	switch {
	case s.total == s.failed+s.skipped:
		return pieces
	case s.running+s.waiting > 0 && s.partial:
		text += " so far"
	case s.running+s.waiting > 0:
		text = display.Ratio(s.doneBytes, s.allBytes)
	}
	if s.rateKnown {
		text += ", " + speedText(s.rate)
	}
	if s.leftKnown && s.left > 0 {
		text += ", " + durationText(s.left) + " left"
	}
	return append(pieces, Line{{text, Plain}})
}

func (s sums) counts() []string {
	var counts []string
	for _, part := range []struct {
		count int
		what  string
	}{
		{s.done, "done"}, {s.running, "running"}, {s.waiting, "waiting"}, {s.failed, "failed"}, {s.skipped, "skipped"},
	} {
		if part.count > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", part.count, part.what))
		}
	}
	return counts
}

// wrap puts pieces into lines, two spaces between them. An empty piece begins a new line.
func wrap(pieces []Line, columns int) []Line {
	var lines []Line
	var current Line
	flush := func() {
		if current != nil {
			lines = append(lines, current)
		}
		current = nil
	}
	for _, piece := range pieces {
		switch {
		case piece == nil:
			flush()
			continue
		case current != nil && current.Width()+2+piece.Width() > columns:
			flush()
		case current != nil:
			current = append(current, Span{"  ", Plain})
		}
		parts := broken(piece, columns)
		lines = append(lines, parts[:len(parts)-1]...)
		current = append(current, parts[len(parts)-1]...)
	}
	flush()
	return lines
}

// broken makes several of a piece of one span that is too long for any line. A name is shortened instead, and a list
// is broken behind a comma where there is one.
func broken(piece Line, columns int) []Line {
	text, style := piece[0].Text, piece[0].Style
	if style == Bold {
		return []Line{{{shorten(text, columns), style}}}
	}
	var parts []Line
	for width(text) > columns {
		at := strings.LastIndex(head(text, columns+1), ", ")
		if at < 0 {
			break
		}
		parts = append(parts, Line{{text[:at+1], style}})
		text = text[at+2:]
	}
	return append(parts, Line{{cut(text, columns), style}})
}

func summaryOf(rows []*row) Line {
	var s sums
	for _, r := range rows {
		s.count(r)
	}
	return Line{{fmt.Sprintf("... and %d more: %s", len(rows), strings.Join(s.counts(), ", ")), Dim}}
}

// layout is how wide the columns are.
type layout struct {
	now                                 time.Time
	columns, label, bar, bytes, rate, t int
}

func newLayout(now time.Time, rows []*row, columns int) layout {
	// The usual widths, so that columns do not jump about.
	l := layout{now: now, columns: columns}
	l.bytes, l.rate, l.t = len("100.0/999.9 MiB"), len("99.9 MiB/s"), len("59m59s left")
	for _, r := range rows {
		l.label = max(l.label, width(r.Label))
		if r.Phase != resticv1.PhaseInProgress {
			continue
		}
		l.bytes = max(l.bytes, width(display.Ratio(r.Done, r.Total)))
		l.rate = max(l.rate, width(l.rateOf(r)))
		l.t = max(l.t, width(l.leftOf(r)))
	}
	if columns < oneLineFrom {
		l.bar = min(columns-len(" 100%")-2-l.rate-2-l.t, maxBar)
		return l
	}
	rest := columns - 2 - len(" 100%") - 2 - l.bytes - 2 - l.rate - 2 - l.t
	l.label = min(l.label, max(rest-minBar, 8))
	l.bar = min(rest-l.label, maxBar)
	return l
}

func (l layout) rateOf(r *row) string {
	speed, known := r.meter.speed(l.now)
	if !known {
		return ""
	}
	return speedText(speed)
}

func (l layout) leftOf(r *row) string {
	if r.Total > 0 && r.Done >= r.Total {
		return "finishing"
	}
	if silent := l.now.Sub(r.meter.at); r.meter.stalled(l.now) > 0 {
		return "idle " + durationText(silent)
	}
	left, known := r.meter.left(l.now)
	if !known {
		return ""
	}
	return durationText(left) + " left"
}

// lines returns the one or two lines of a volume.
func (l layout) lines(r *row) []Line {
	if l.columns >= oneLineFrom {
		line := Line{{padRight(shorten(display.Line(r.Label), l.label), l.label), Plain}, {"  ", Plain}}
		return []Line{append(line, l.state(r, true)...)}
	}
	if r.Phase != resticv1.PhaseInProgress {
		name := Line{{shorten(display.Line(r.Label), l.columns), Plain}}
		return []Line{name, append(Line{{"  ", Plain}}, stateText(r)...)}
	}
	bytes := display.Ratio(r.Done, r.Total)
	room := max(l.columns-width(bytes)-2, 0)
	first := Line{{padRight(shorten(display.Line(r.Label), room), room) + "  " + bytes, Plain}}
	return []Line{first, l.state(r, false)}
}

// state is what stands behind or below the label: a bar with numbers, or what the phase means.
func (l layout) state(r *row, withBytes bool) Line {
	if r.Phase != resticv1.PhaseInProgress {
		return stateText(r)
	}
	share := "   ?%"
	if r.Total > 0 {
		share = fmt.Sprintf(" %3d%%", percent(r.Done, r.Total))
	}
	line := append(barOf(r.Done, r.Total, l.bar), Span{share, Plain})
	if withBytes {
		line = append(line, Span{"  " + padLeft(display.Ratio(r.Done, r.Total), l.bytes), Plain})
	}
	text := "  " + padLeft(l.rateOf(r), l.rate) + "  " + padLeft(l.leftOf(r), l.t)
	return append(line, Span{strings.TrimRight(text, " "), Plain})
}

// barOf draws so many columns; none where a bar would say nothing.
func barOf(done, total int64, columns int) Line {
	if columns < 5 {
		return Line{}
	}
	inner := columns - 2
	filled := percent(done, total) * inner / 100
	full := strings.Repeat("=", filled)
	if filled > 0 && filled < inner {
		full = full[:filled-1] + ">"
	}
	return Line{{"[", Dim}, {full, Bar}, {strings.Repeat(" ", inner-filled), Plain}, {"]", Dim}}
}

// stateText says in words how a volume stands.
func stateText(r *row) Line {
	message := display.Line(r.Message)
	switch r.Phase {
	case resticv1.PhaseCompleted:
		line := Line{{"Completed", Good}, {"  " + resultText(&r.Volume), Plain}}
		if r.Warnings > 0 {
			line = append(line, Span{", " + plural(r.Warnings, "warning"), Warn})
		}
		return line
	case resticv1.PhaseFailed, resticv1.PhaseCanceled:
		return Line{{string(r.Phase), Bad}, {"  " + message, Plain}}
	case resticv1.PhaseSkipped:
		return Line{{"Skipped", Warn}, {"  " + message, Plain}}
	case resticv1.PhaseNew, resticv1.PhaseInProgress:
	}
	return Line{{waitingText(&r.Volume), Dim}}
}

func resultText(v *Volume) string {
	text := display.Bytes(v.Done)
	if took := v.took(); took > 0 {
		text += " in " + durationText(took)
	}
	if v.Stored > 0 {
		text += ", " + display.Bytes(v.Stored) + " stored"
	}
	return text
}

// waitingText says what a volume that has not begun waits for.
func waitingText(v *Volume) string {
	message := display.Line(v.Message)
	switch {
	case strings.HasPrefix(message, "waiting"):
		return message
	case message != "":
		return "waiting: " + message
	case v.Node != "":
		return "waiting for the agent on node " + v.Node
	}
	return "waiting for an agent to take it up"
}
