// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic

import "bytes"

// lineWriter cuts what is written to it into lines, wherever the writes are cut. It never fails and never blocks but
// in emit. A line over the limit is left out as a whole: half a JSON object is of no use.
type lineWriter struct {
	limit int
	emit  func(line []byte)

	pending []byte
	tooLong bool
}

// Write implements io.Writer.
func (w *lineWriter) Write(data []byte) (int, error) {
	written := len(data)
	for {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			w.add(data)
			return written, nil
		}
		w.add(data[:end])
		w.close()
		data = data[end+1:]
	}
}

func (w *lineWriter) add(part []byte) {
	if w.tooLong || len(w.pending)+len(part) > w.limit {
		w.tooLong = true
		w.pending = w.pending[:0]
		return
	}
	w.pending = append(w.pending, part...)
}

// close emits the line so far, if there is any.
func (w *lineWriter) close() {
	if line := cleanLine(w.pending); len(line) > 0 && !w.tooLong {
		w.emit(line)
	}
	w.pending, w.tooLong = w.pending[:0], false
}

// cleanLine removes what is meant for a terminal: restic <= 0.18 clears the line with an escape sequence even when
// nobody looks at it.
func cleanLine(line []byte) []byte {
	for {
		start := bytes.Index(line, []byte("\x1b["))
		if start < 0 {
			return bytes.TrimSpace(line)
		}
		end := start + 2
		for end < len(line) && (line[end] < '@' || line[end] > '~') {
			end++
		}
		if end < len(line) {
			end++
		}
		line = append(line[:start:start], line[end:]...)
	}
}
