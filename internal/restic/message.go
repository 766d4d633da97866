// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic

import (
	"encoding/json"
	"strings"
)

// tailMax is how much is kept of what restic says outside its JSON messages, in bytes: enough for a usage error or
// the head of a panic, and little enough for the status of an object.
const tailMax = 2048

// message is every JSON message that is read here, in one (restic v0.19.1, internal/ui/backup/json.go,
// internal/ui/restore/json.go, cmd/restic/main.go, cmd/restic/cmd_version.go). Fields that restic leaves out are zero.
type message struct {
	MessageType string `json:"message_type"`

	TotalFiles    int64 `json:"total_files"`
	TotalBytes    int64 `json:"total_bytes"`
	FilesDone     int64 `json:"files_done"`
	BytesDone     int64 `json:"bytes_done"`
	FilesRestored int64 `json:"files_restored"`
	BytesRestored int64 `json:"bytes_restored"`

	Summary
	SnapshotID string `json:"snapshot_id"`

	Error struct {
		Message string `json:"message"`
	} `json:"error"`
	During string `json:"during"`
	Item   string `json:"item"`

	Message string `json:"message"`
	Version string `json:"version"`
}

// The values of message_type.
const (
	messageStatus    = "status"
	messageSummary   = "summary"
	messageError     = "error"
	messageExitError = "exit_error"
	messageVersion   = "version"
)

// decodeMessage returns false for a line that is no JSON message.
func decodeMessage(line []byte) (message, bool) {
	var m message
	if len(line) == 0 || line[0] != '{' || json.Unmarshal(line, &m) != nil || m.MessageType == "" {
		return message{}, false
	}
	return m, true
}

// stderrReader sorts the lines of the standard error.
type stderrReader struct {
	onProblem func(Problem)
	onText    func(string)
	message   string
	lines     []string
	size      int
}

func (r *stderrReader) line(line []byte) {
	m, ok := decodeMessage(line)
	switch {
	case !ok:
		r.keep(string(line))
		if r.onText != nil {
			r.onText(string(line))
		}
	case m.MessageType == messageExitError:
		r.message = plainMessage(m.Message)
	case m.MessageType == messageError:
		problem := Problem{Item: m.Item, During: m.During, Message: m.Error.Message}
		if problem.Message == "" {
			problem.Message = m.Message // a check's have no more than that
		}
		r.onProblem(problem)
	}
}

// keep adds a line to the tail and drops the oldest ones beyond tailMax.
func (r *stderrReader) keep(line string) {
	line = strings.ToValidUTF8(line, "?")
	if len(line) > tailMax {
		line = strings.ToValidUTF8(line[:tailMax], "")
	}
	r.lines = append(r.lines, line)
	r.size += len(line) + 1
	for r.size > tailMax+1 {
		r.size -= len(r.lines[0]) + 1
		r.lines = r.lines[1:]
	}
}

func (r *stderrReader) tail() string { return strings.Join(r.lines, "\n") }

// plainMessage makes one line of restic's explanation, which may have several, begins with "Fatal: " for people in a
// terminal, and ends with a stack trace when restic did not expect the error.
func plainMessage(text string) string {
	var kept []string
	for line := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(line, "\t") { // the place of a stack frame; its function is the line before
			if len(kept) > 0 {
				kept = kept[:len(kept)-1]
			}
			continue
		}
		if line = strings.TrimSpace(line); line != "" {
			kept = append(kept, line)
		}
	}
	plain := strings.Join(kept, " ")
	for strings.HasPrefix(plain, "Fatal: ") {
		plain = strings.TrimPrefix(plain, "Fatal: ")
	}
	if len(plain) > tailMax {
		plain = strings.ToValidUTF8(plain[:tailMax], "")
	}
	return plain
}
