// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic

import (
	"io"
	"os"
	"strings"
)

// transportLog is the file of Command.TransportErrors, from where it ended when the command began.
type transportLog struct {
	path  string
	start int64
}

func openTransportLog(path string) transportLog {
	log := transportLog{path: path}
	if info, err := os.Stat(path); err == nil {
		log.start = info.Size()
	}
	return log
}

// said returns the last line that has come since, at most tailMax of it. A file that is not there, or that cannot be
// read, says nothing: there is restic's own message still.
func (l transportLog) said() string {
	file, err := os.Open(l.path)
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }() // only read
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	from := max(l.start, info.Size()-tailMax)
	said, err := io.ReadAll(io.NewSectionReader(file, from, info.Size()-from))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(said), "?")), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
