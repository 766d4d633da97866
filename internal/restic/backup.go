// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Progress is how far a backup or a restore has come. The totals are 0 while they are not known.
type Progress struct {
	BytesDone, TotalBytes int64
	FilesDone, TotalFiles int64
}

// MaxWarnings is how many warnings are kept; all are counted.
const MaxWarnings = 20

// warningMax is the longest text of a warning, in bytes: 20 of them fit into the status of an object many times.
const warningMax = 512

// Warnings are problems with single files.
type Warnings struct {
	// Count is how many there were.
	Count int64
	// First are the first MaxWarnings of them, for people.
	First []string
}

// add counts a problem with a file.
func (w *Warnings) add(problem Problem) {
	text := problem.Message
	if problem.Item != "" && !strings.Contains(text, problem.Item) {
		text = problem.Item + ": " + text
	}
	w.addText(text)
}

// AddFirst counts a problem of the whole volume and tells it before those of single files.
func (w *Warnings) AddFirst(text string) {
	w.Count++
	w.First = append([]string{text}, w.First[:min(len(w.First), MaxWarnings-1)]...)
}

func (w *Warnings) addText(text string) {
	w.Count++
	if len(w.First) >= MaxWarnings {
		return
	}
	if len(text) > warningMax {
		text = text[:warningMax] + "…"
	}
	w.First = append(w.First, strings.ToValidUTF8(text, "?"))
}

// BackupOptions say what to back up.
type BackupOptions struct {
	// Dir is the working directory.
	Dir string
	// Paths are what to back up, relative to Dir; none means all of Dir.
	Paths []string
	// Tags are put on the snapshot as key=value.
	Tags map[string]string
	// Parent is the ID of the snapshot to compare with. Without one restic takes the latest of the same host and
	// paths, if any.
	Parent string
	// Exclude are restic's patterns of what to leave out. They match absolute paths.
	Exclude []string
	// Host is the host name in the snapshot.
	Host string
	// ReadConcurrency is how many files are read at once; 0 leaves it to restic.
	ReadConcurrency int
}

// Summary is what restic says of a finished backup. Sizes are in bytes.
type Summary struct {
	FilesNew            int64 `json:"files_new"`
	FilesChanged        int64 `json:"files_changed"`
	FilesUnmodified     int64 `json:"files_unmodified"`
	DirsNew             int64 `json:"dirs_new"`
	DirsChanged         int64 `json:"dirs_changed"`
	DirsUnmodified      int64 `json:"dirs_unmodified"`
	DataAdded           int64 `json:"data_added"`
	DataAddedPacked     int64 `json:"data_added_packed"`
	TotalFilesProcessed int64 `json:"total_files_processed"`
	TotalBytesProcessed int64 `json:"total_bytes_processed"`
}

// BackupResult is what a backup has made.
type BackupResult struct {
	// SnapshotID is the full ID of the snapshot.
	SnapshotID string
	Summary    Summary
	Warnings   Warnings
}

// Backup makes a snapshot. onProgress, if not nil, is called about once a second, and with the totals at the end.
//
// It fails with ErrSourceIncomplete when the snapshot was made without some of the files: the result then has the
// snapshot and the warnings, and the caller decides. With any other error there is no snapshot to rely on; if the
// result has an ID nevertheless, as after a late cancellation, that snapshot is complete but unwanted.
func (c *Client) Backup(
	ctx context.Context, o BackupOptions, onProgress func(Progress),
) (BackupResult, error) {
	if c.repository.ReadOnly {
		return BackupResult{}, fmt.Errorf("backing up: %w", ErrReadOnly)
	}
	args, err := backupArguments(c.repository, o)
	if err != nil {
		return BackupResult{}, fmt.Errorf("backing up: %w", err)
	}
	var result BackupResult
	cmd := Command{Args: args, Dir: o.Dir, Paths: volume(o.Dir, false), OnProblem: func(problem Problem) {
		// The scan, which only counts, meets the same files once more.
		if problem.During != duringScan {
			result.Warnings.add(problem)
		}
	}}
	err = c.run(ctx, cmd, func(line []byte) { result.read(line, onProgress) })
	err = result.check(err)
	return result, err
}

// duringScan is the activity of Problem that precedes a backup.
const duringScan = "scan"

func (r *BackupResult) read(line []byte, onProgress func(Progress)) {
	m, ok := decodeMessage(line)
	if !ok {
		return
	}
	var progress Progress
	switch m.MessageType {
	case messageStatus:
		progress = Progress{m.BytesDone, m.TotalBytes, m.FilesDone, m.TotalFiles}
	case messageSummary:
		r.SnapshotID, r.Summary = m.SnapshotID, m.Summary
		progress = Progress{m.TotalBytesProcessed, m.TotalBytesProcessed, m.TotalFilesProcessed, m.TotalFilesProcessed}
	default:
		return
	}
	if onProgress != nil {
		onProgress(progress)
	}
}

// check returns what the backup comes to, given how its process ended.
func (r *BackupResult) check(err error) error {
	var exit *ExitError
	switch {
	case err == nil && r.SnapshotID == "":
		return fmt.Errorf("backing up: no snapshot in restic's summary: %w", ErrBadAnswer)
	case err == nil:
		return nil
	case errors.Is(err, ErrSourceIncomplete) && r.SnapshotID == "":
		// Not wrapped: who sees ErrSourceIncomplete relies on a snapshot.
		return fmt.Errorf("backing up: no snapshot was made: %v", err) //nolint:errorlint // see above
	case errors.As(err, &exit) && errors.Is(err, ErrSourceIncomplete) && r.Warnings.Count == 0 && exit.Output != "":
		// Of a path that is not there at all restic tells in plain text.
		r.Warnings.addText(exit.Output)
	}
	return fmt.Errorf("backing up: %w", err)
}
