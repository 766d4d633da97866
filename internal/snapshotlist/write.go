// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package snapshotlist

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// Write writes the list, the newest snapshot first, and its end. What is beyond MaxList is left out, the oldest ones:
// the end tells how many, and Write returns it. Unreadable is how many more restic could not read.
func Write(w io.Writer, snapshots []Snapshot, unreadable int) (leftOut int, err error) {
	sorted := slices.Clone(snapshots)
	slices.SortStableFunc(sorted, func(a, b Snapshot) int { return b.Time.Compare(a.Time) })
	buffer := bufio.NewWriter(w)
	end := endLine{MessageType: typeEnd, Unreadable: unreadable}
	size := 0
	for i := range sorted {
		line, err := encode(sorted[i])
		if err != nil {
			return 0, err
		}
		if size += len(line) + 1 + linePrefix; size > MaxList {
			break
		}
		if err := writeLine(buffer, line); err != nil {
			return 0, err
		}
		end.Count++
	}
	end.LeftOut = len(sorted) - end.Count
	line, err := json.Marshal(end)
	if err != nil {
		return 0, fmt.Errorf("encoding the end of the list of snapshots: %w", err)
	}
	if err := writeLine(buffer, line); err != nil {
		return 0, err
	}
	if err := buffer.Flush(); err != nil {
		return 0, fmt.Errorf("writing the list of snapshots: %w", err)
	}
	return end.LeftOut, nil
}

func writeLine(w *bufio.Writer, line []byte) error {
	_, err := w.Write(append(line, '\n'))
	if err != nil {
		return fmt.Errorf("writing the list of snapshots: %w", err)
	}
	return nil
}

// encode returns the line of a snapshot, without paths and tags of somebody else's where it would be too long.
func encode(snapshot Snapshot) ([]byte, error) {
	line, err := json.Marshal(snapshotLine{MessageType: typeSnapshot, Snapshot: snapshot})
	if err == nil && len(line) > MaxLine {
		snapshot.Paths, snapshot.Tags, snapshot.Cut = nil, nil, true
		line, err = json.Marshal(snapshotLine{MessageType: typeSnapshot, Snapshot: snapshot})
	}
	if err == nil && len(line) > MaxLine {
		// Tags with names that Kubernetes would not have given: somebody else's after all.
		line, err = json.Marshal(snapshotLine{MessageType: typeSnapshot, Snapshot: Snapshot{
			ID: snapshot.ID, Time: snapshot.Time, Size: snapshot.Size, Cut: true,
		}})
	}
	if err != nil {
		return nil, fmt.Errorf("encoding snapshot %s: %w", snapshot.ID, err)
	}
	return line, nil
}
