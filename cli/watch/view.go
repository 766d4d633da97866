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

// view shows a board to somebody.
type view interface {
	// tick is called every now and then.
	tick(now time.Time)
	// notice says something that is none of the board's.
	notice(text string)
	// end shows the board for the last time. Over says that what it shows has ended.
	end(now time.Time, over bool)
}

// styleOf is the color of a style, as a parameter of ECMA-48's SGR sequence.
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

// Control sequences of ECMA-48 and of DEC's VT100, which every terminal in use knows.
const (
	hideCursor, showCursor = "\x1b[?25l", "\x1b[?25h"
	stopWrap, startWrap    = "\x1b[?7l", "\x1b[?7h"
	clearLine, clearBelow  = "\x1b[2K", "\x1b[J"
)

// picture draws the board over itself, below what was on the terminal before.
type picture struct {
	board    *board.Board
	out, err io.Writer
	size     func() (columns, rows int)
	palette  command.Palette
	// drawn are the widths of the lines that are on the screen.
	drawn []int
}

// room is how large the terminal is; one that does not say, such as a serial line, is as large as the first ones were.
func (p *picture) room() (columns, rows int) {
	columns, rows = p.size()
	if columns <= 0 {
		columns = 80
	}
	if rows <= 0 {
		rows = 24
	}
	return columns, rows
}

func (p *picture) tick(now time.Time) {
	columns, rows := p.room()
	// The cursor stands on a line of its own, below.
	p.draw(p.board.Frame(now, columns, max(rows-1, 1)), columns)
}

// back moves the cursor to where the picture began. A terminal that has become narrower has broken its lines.
func (p *picture) back(columns int) string {
	height := 0
	for _, width := range p.drawn {
		height += max((width+columns-1)/columns, 1)
	}
	if height == 0 {
		return "\r"
	}
	return fmt.Sprintf("\r\x1b[%dA", height)
}

// draw writes all at once, so that nobody sees half a picture. The cursor is hidden for that time alone: whatever ends
// or stops the process in between, the terminal has it.
func (p *picture) draw(lines []board.Line, columns int) {
	var text strings.Builder
	text.WriteString(hideCursor + stopWrap + p.back(columns))
	p.drawn = p.drawn[:0]
	for _, line := range lines {
		text.WriteString(clearLine + painted(line, p.palette) + "\n")
		p.drawn = append(p.drawn, line.Width())
	}
	text.WriteString(clearBelow + startWrap + showCursor)
	fmt.Fprint(p.out, text.String())
}

// wipe takes the picture off the screen.
func (p *picture) wipe() {
	columns, _ := p.room()
	fmt.Fprint(p.out, p.back(columns)+clearBelow)
	p.drawn = p.drawn[:0]
}

func (p *picture) notice(text string) {
	p.wipe()
	fmt.Fprintln(p.err, display.Line(text))
}

func (p *picture) end(now time.Time, over bool) {
	if !over {
		p.tick(now)
		return
	}
	p.wipe()
	writeTable(p.out, p.board.Table(now), p.palette)
}

func writeTable(out io.Writer, lines []board.Line, palette command.Palette) {
	for _, line := range lines {
		fmt.Fprintln(out, painted(line, palette))
	}
}

// lines tells what changes, in a line each with the time before it.
type lines struct {
	board    *board.Board
	journal  *board.Journal
	out, err io.Writer
	// every is how often progress is told, and told when it was last.
	every time.Duration
	told  time.Time
	begun bool
}

func (l *lines) tick(now time.Time) {
	if !l.begun {
		l.begun, l.told = true, now
	}
	l.write(now, l.journal.Changes(l.board))
	if now.Sub(l.told) >= l.every {
		l.told = now
		l.write(now, l.journal.Progress(l.board, now))
	}
}

func (l *lines) write(now time.Time, texts []string) {
	for _, text := range texts {
		fmt.Fprintln(l.out, now.UTC().Format(time.RFC3339), text)
	}
}

func (l *lines) notice(text string) { fmt.Fprintln(l.err, display.Line(text)) }

func (l *lines) end(now time.Time, over bool) {
	switch {
	case over && !l.begun:
		writeTable(l.out, l.board.Table(now), command.Palette{})
	default:
		l.write(now, l.journal.Changes(l.board))
		l.write(now, []string{l.board.Sum(now)})
	}
}
