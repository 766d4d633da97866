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

// Cell is a field of a table.
type Cell struct {
	Text  string
	Style Style
}

// Text returns a cell without a style.
func Text(text string) Cell { return Cell{Text: text} }

// Styled returns a cell with a style.
func Styled(style Style, text string) Cell { return Cell{Text: text, Style: style} }

// Table is a table in kubectl's format: headers in capitals, and columns separated by spaces.
type Table struct {
	Header []string
	Rows   [][]Cell
}

// Add appends a row. Missing cells are empty.
func (t *Table) Add(cells ...Cell) { t.Rows = append(t.Rows, cells) }

// gap is the number of spaces between columns, as in kubectl.
const gap = 3

// Write writes the table. It prints empty cells as <none>, as kubectl does.
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

// shown returns a cell as printed: on one line, and never empty, so that scripts can count columns.
func shown(row []Cell, i int) Cell {
	const none = "<none>"
	if i >= len(row) || row[i].Text == "" {
		return Text(none)
	}
	cell := row[i]
	cell.Text = display.Line(cell.Text)
	return cell
}
