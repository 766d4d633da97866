// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package snapshotlist

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrCut says that the log does not have the list to its end, or from its beginning. It may be read again; if the Job
// has ended, the list must be asked for again.
var ErrCut = errors.New("the log does not have the whole list of snapshots")

// PartialError comes with a list that is as it was written, and yet not all that the repository has.
type PartialError struct {
	// LeftOut is how many snapshots, the oldest ones, were too many for a log.
	LeftOut int
	// Unreadable is how many there are which restic cannot read.
	Unreadable int
}

// Error implements error.
func (e *PartialError) Error() string {
	switch {
	case e.LeftOut == 0:
		return fmt.Sprintf("%d more snapshots cannot be read: have the repository checked", e.Unreadable)
	case e.Unreadable == 0:
		return fmt.Sprintf("the %d oldest snapshots are left out, more than a log takes: run `restic snapshots` "+
			"with the repository's own credentials to see them", e.LeftOut)
	}
	return fmt.Sprintf("the %d oldest snapshots are left out, more than a log takes, and %d more cannot be read: "+
		"have the repository checked", e.LeftOut, e.Unreadable)
}

// Read returns the snapshots of a list in a log, the newest first, and passes over whatever else is in it. It fails
// with ErrCut when the list is not whole; a *PartialError comes with the snapshots that were listed.
func Read(r io.Reader) ([]Snapshot, error) {
	var (
		snapshots []Snapshot
		end       *endLine
	)
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) > 0 {
			err = nil // the last line may have no end of its own; if it was cut, it is no JSON
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading the list of snapshots: %w", err)
		}
		snapshot, last := decode(line)
		if snapshot != nil {
			snapshots = append(snapshots, *snapshot)
		}
		if last != nil {
			end = last
			break
		}
	}
	switch {
	case end == nil:
		return nil, fmt.Errorf("%w: it ends after %d snapshots without saying that it is the end", ErrCut,
			len(snapshots))
	case end.Count != len(snapshots):
		return nil, fmt.Errorf("%w: of %d snapshots it has %d", ErrCut, end.Count, len(snapshots))
	case end.LeftOut > 0 || end.Unreadable > 0:
		return snapshots, &PartialError{LeftOut: end.LeftOut, Unreadable: end.Unreadable}
	}
	return snapshots, nil
}

// decode returns what a line of the log is: a snapshot, the end of the list, or neither.
func decode(line []byte) (*Snapshot, *endLine) {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '{' {
		return nil, nil
	}
	var read snapshotLine
	if json.Unmarshal(line, &read) != nil {
		return nil, nil
	}
	switch read.MessageType {
	case typeSnapshot:
		return &read.Snapshot, nil
	case typeEnd:
		var end endLine
		if json.Unmarshal(line, &end) != nil {
			return nil, nil
		}
		return nil, &end
	}
	return nil, nil
}
