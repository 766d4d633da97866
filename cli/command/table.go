// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/velero-restic/velero-plugin-for-restic/cli/display"
)

// Cell is one field of a table.
type Cell struct {
	Text  string
	Style Style
}

// Text returns a cell without a style.
func Text(text string) Cell { return Cell{Text: text} }

// Styled returns a cell with one.
func Styled(style Style, text string) Cell { return Cell{Text: text, Style: style} }

// Table is written as kubectl writes its own: headers in capitals, columns by blanks, the last one as wide as it is.
type Table struct {
	Header []string
	Rows   [][]Cell
}

// Add appends a row. One that is shorter than the header ends in empty cells.
func (t *Table) Add(cells ...Cell) { t.Rows = append(t.Rows, cells) }

// gap is how many blanks part two columns, as in kubectl.
const gap = 3

// Write writes the table. What is empty is shown as <none>, as kubectl does.
func (t *Table) Write(out io.Writer, palette Palette) error {
	header := make([]Cell, 0, len(t.Header))
	for _, title := range t.Header {
		header = append(header, Styled(Bold, strings.ToUpper(title)))
	}
	rows := append([][]Cell{header}, t.Rows...)
	widths := make([]int, len(t.Header))
	for _, row := range rows {
		for i := range widths {
			widths[i] = max(widths[i], utf8.RuneCountInString(shown(row, i).Text))
		}
	}
	var text strings.Builder
	for _, row := range rows {
		for i, width := range widths {
			cell := shown(row, i)
			text.WriteString(palette.Paint(cell.Style, cell.Text))
			if i < len(widths)-1 {
				text.WriteString(strings.Repeat(" ", width-utf8.RuneCountInString(cell.Text)+gap))
			}
		}
		text.WriteByte('\n')
	}
	if _, err := io.WriteString(out, text.String()); err != nil {
		return fmt.Errorf("writing a table: %w", err)
	}
	return nil
}

// shown returns a cell as it is to be seen: on one line, and never without a mark, so that columns can be counted.
func shown(row []Cell, i int) Cell {
	const none = "<none>"
	if i >= len(row) || row[i].Text == "" {
		return Text(none)
	}
	cell := row[i]
	cell.Text = display.Line(cell.Text)
	return cell
}
