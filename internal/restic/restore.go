// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// RestoreOptions say what to restore, and where.
type RestoreOptions struct {
	// SnapshotID is the ID of the snapshot, or that and a folder in it: ID:/folder.
	SnapshotID string
	// Target is the directory to restore into. Files of the same name are replaced, others stay.
	Target string
	// Sparse writes runs of zeros as holes.
	Sparse bool
	// Exclude are patterns, rooted at the snapshot's root, of what to leave out.
	Exclude []string
}

// RestoreResult is what a restore has done. It counts files and directories together, as restic does.
type RestoreResult struct {
	FilesRestored, TotalFiles int64
	BytesRestored, TotalBytes int64
	Warnings                  Warnings
}

// Restore writes the content of a snapshot into a directory. onProgress, if not nil, is called about once a second,
// and at the end.
//
// It fails with ErrRestoreMetadata when all content is there and nothing but owners, permissions, times or extended
// attributes is missing, for which see the result's warnings. They are also there after a failure.
func (c *Client) Restore(
	ctx context.Context, o RestoreOptions, onProgress func(Progress),
) (RestoreResult, error) {
	args, err := restoreArguments(c.repository, o)
	if err != nil {
		return RestoreResult{}, fmt.Errorf("restoring: %w", err)
	}
	var state restoreState
	cmd := Command{Args: args, Paths: volume(o.Target, true), OnProblem: state.problem}
	err = c.run(ctx, cmd, func(line []byte) { state.read(line, onProgress) })
	if err == nil && !state.finished {
		err = fmt.Errorf("no summary: %w", ErrBadAnswer)
	}
	if state.onlyMetadata(err) {
		err = fmt.Errorf("%w: %d of them", ErrRestoreMetadata, state.result.Warnings.Count)
	}
	if err != nil {
		return state.result, fmt.Errorf("restoring snapshot %s: %w", o.SnapshotID, err)
	}
	return state.result, nil
}

// restoreState is what is known of a restore while it runs.
type restoreState struct {
	result   RestoreResult
	finished bool
	// content counts the problems that are about more than metadata.
	content int64
}

func (s *restoreState) problem(problem Problem) {
	s.result.Warnings.add(problem)
	if !metadataProblem(problem.Message) {
		s.content++
	}
}

func (s *restoreState) read(line []byte, onProgress func(Progress)) {
	m, ok := decodeMessage(line)
	if !ok || (m.MessageType != messageStatus && m.MessageType != messageSummary) {
		return
	}
	s.result.FilesRestored, s.result.TotalFiles = m.FilesRestored, m.TotalFiles
	s.result.BytesRestored, s.result.TotalBytes = m.BytesRestored, m.TotalBytes
	s.finished = s.finished || m.MessageType == messageSummary
	if onProgress != nil {
		onProgress(Progress{m.BytesRestored, m.TotalBytes, m.FilesRestored, m.TotalFiles})
	}
}

// restoreErrors is how restic ends a restore that went through to its end (cmd/restic/cmd_restore.go).
var restoreErrors = regexp.MustCompile(`^There were (\d+) errors$`)

// onlyMetadata says whether the process failed for nothing but metadata. It must have gone through to its end, and
// every error that restic has counted must have been seen and be about metadata.
func (s *restoreState) onlyMetadata(err error) bool {
	var exit *ExitError
	if !s.finished || s.content > 0 || !errors.As(err, &exit) || exit.cause != nil || exit.Code != codeFailure {
		return false
	}
	counted := restoreErrors.FindStringSubmatch(exit.Message)
	return len(counted) == 2 && counted[1] == strconv.FormatInt(s.result.Warnings.Count, 10)
}

// metadataProblem says whether the message is of one of the calls by which restic sets attributes (v0.19.1,
// internal/fs/node.go, nodeRestoreMetadata): the operations of os.Lchown and os.Chmod, of the package xattr, and
// restic's own text for times. It makes the file and writes its content first, and tells of that in other words.
func metadataProblem(text string) bool {
	for _, prefix := range []string{
		"lchown ", "chmod ", "xattr.set ", "xattr.list ", "xattr.remove ", "xattr.get ",
		"failed to restore timestamp of ",
	} {
		if strings.HasPrefix(text, prefix) {
			return true
		}
	}
	return false
}
