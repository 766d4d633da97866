// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package watch

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/cli/display"
	"github.com/velero-restic/velero-plugin-for-restic/cli/watch/board"
)

// view shows a board.
type view interface {
	// tick is called regularly.
	tick(now time.Time)
	// notice prints a message that is not on the board.
	notice(text string)
	// end shows the board for the last time; over is true if the operation has ended.
	end(now time.Time, over bool)
}

// styleOf converts a style of package board.
func styleOf(style board.Style) command.Style {
	const cyan = "36"
	switch style {
	case board.Bold:
		return command.Bold
	case board.Dim:
		return command.Dim
	case board.Bar:
		return cyan
	case board.Good:
		return command.Good
	case board.Warn:
		return command.Warn
	case board.Bad:
		return command.Bad
	case board.Plain:
	}
	return command.Plain
}

func painted(line board.Line, palette command.Palette) string {
	var text strings.Builder
	for _, span := range line {
		text.WriteString(palette.Paint(styleOf(span.Style), span.Text))
	}
	return strings.TrimRight(text.String(), " ")
}

// Control sequences of ECMA-48 and of DEC's VT100, which all common terminals support.
const (
	hideCursor, showCursor = "\x1b[?25l", "\x1b[?25h"
	stopWrap, startWrap    = "\x1b[?7l", "\x1b[?7h"
	clearLine, clearBelow  = "\x1b[2K", "\x1b[J"
)

// screenView redraws the board in place, below the earlier content of the terminal.
type screenView struct {
	board    *board.Board
	out, err io.Writer
	size     func() (columns, rows int)
	palette  command.Palette
	// drawnWidths are the widths of the lines on the screen.
	drawnWidths []int
}

// terminalSize returns the size of the terminal; 80 by 24 if it is unknown, such as on a serial line.
func (p *screenView) terminalSize() (columns, rows int) {
	columns, rows = p.size()
	if columns <= 0 {
		columns = 80
	}
	if rows <= 0 {
		rows = 24
	}
	return columns, rows
}

func (p *screenView) tick(now time.Time) {
	columns, rows := p.terminalSize()
	// The cursor is on the line below.
	p.draw(p.board.Frame(now, columns, max(rows-1, 1)), columns)
}

// toTop moves the cursor to the first line. A terminal that has become narrower has wrapped the lines.
func (p *screenView) toTop(columns int) string {
	height := 0
	for _, width := range p.drawnWidths {
		height += max((width+columns-1)/columns, 1)
	}
	if height == 0 {
		return "\r"
	}
	return fmt.Sprintf("\r\x1b[%dA", height)
}

// draw writes everything at once, to avoid flicker. It hides the cursor only for this time, so that the cursor is
// visible if the process stops in between.
func (p *screenView) draw(lineView []board.Line, columns int) {
	var text strings.Builder
	text.WriteString(hideCursor + stopWrap + p.toTop(columns))
	p.drawnWidths = p.drawnWidths[:0]
	for _, line := range lineView {
		text.WriteString(clearLine + painted(line, p.palette) + "\n")
		p.drawnWidths = append(p.drawnWidths, line.Width())
	}
	text.WriteString(clearBelow + startWrap + showCursor)
	fmt.Fprint(p.out, text.String())
}

// erase removes the drawing from the screen.
func (p *screenView) erase() {
	columns, _ := p.terminalSize()
	fmt.Fprint(p.out, p.toTop(columns)+clearBelow)
	p.drawnWidths = p.drawnWidths[:0]
}

func (p *screenView) notice(text string) {
	p.erase()
	fmt.Fprintln(p.err, display.Line(text))
}

func (p *screenView) end(now time.Time, over bool) {
	if !over {
		p.tick(now)
		return
	}
	p.erase()
	writeTable(p.out, p.board.Table(now), p.palette)
}

func writeTable(out io.Writer, lineView []board.Line, palette command.Palette) {
	for _, line := range lineView {
		fmt.Fprintln(out, painted(line, palette))
	}
}

// lineView prints changes as lines with a timestamp.
type lineView struct {
	board    *board.Board
	journal  *board.Journal
	out, err io.Writer
	// every is the time between two reports of progress.
	every        time.Duration
	lastProgress time.Time
	started      bool
}

func (l *lineView) tick(now time.Time) {
	if !l.started {
		l.started, l.lastProgress = true, now
	}
	l.write(now, l.journal.Changes(l.board))
	if now.Sub(l.lastProgress) >= l.every {
		l.lastProgress = now
		l.write(now, l.journal.Progress(l.board, now))
	}
}

func (l *lineView) write(now time.Time, texts []string) {
	for _, text := range texts {
		fmt.Fprintln(l.out, now.UTC().Format(time.RFC3339), text)
	}
}

func (l *lineView) notice(text string) { fmt.Fprintln(l.err, display.Line(text)) }

func (l *lineView) end(now time.Time, over bool) {
	switch {
	case over && !l.started:
		writeTable(l.out, l.board.Table(now), command.Palette{})
	default:
		l.write(now, l.journal.Changes(l.board))
		l.write(now, []string{l.board.Sum(now)})
	}
}
