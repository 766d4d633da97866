// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/agent/hostpath"
	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// RestoreRequest is one volume to restore.
type RestoreRequest struct {
	Repository Repository
	Volume     hostpath.Volume
	// SnapshotID is the snapshot, if it is known.
	SnapshotID string
	// SnapshotTags find it; of several snapshots with all of them the newest counts. They also confirm the ID.
	SnapshotTags map[string]string
	// Sparse leaves out blocks of zeros.
	Sparse bool
}

// RestoreOutcome is what became of it.
type RestoreOutcome struct {
	SnapshotID string
	Warnings   restic.Warnings
	// TotalBytes is the size of the files restored.
	TotalBytes int64

	// keepsMode says that the snapshot does not know the mode of the volume's root.
	keepsMode bool
}

// Restore writes the content of a snapshot into a volume. Files whose content is there and whose owner, permissions
// or extended attributes could not be set are warnings. Errors are those of session.Opener.Open,
// hostpath.Finder.Find and restic.Client.Restore.
func (m *Mover) Restore(ctx context.Context, request RestoreRequest, report func(Progress)) (RestoreOutcome, error) {
	var outcome RestoreOutcome
	dir, err := m.Finder.Find(request.Volume)
	if err != nil {
		return outcome, err
	}
	err = m.withSession(ctx, request.Repository, func(repository *session.Session) error {
		return m.restore(ctx, repository, dir, request, &outcome, report)
	})
	return outcome, m.explain(&outcome.Warnings, err)
}

// helperOpenTime is how long the helper has to open the folder of the markers before the agent restores the volume's
// root: it looks twice a second, as a user whom that root may shut out.
const helperOpenTime = 1200 * time.Millisecond

func (m *Mover) restore(
	ctx context.Context, repository *session.Session, dir string, request RestoreRequest,
	outcome *RestoreOutcome, report func(Progress),
) (err error) {
	restoreMode, err := hostpath.PrepareMarkers(dir)
	if err != nil {
		return err
	}
	defer func() {
		// The snapshot's own mode is the root's by then, if it has one.
		if restoreMode != nil && (err != nil || outcome.keepsMode) {
			err = errors.Join(err, restoreMode())
		}
	}()
	helperOpened := time.NewTimer(helperOpenTime)
	defer helperOpened.Stop()
	snapshot, err := find(ctx, repository, request)
	if err != nil {
		return err
	}
	outcome.SnapshotID = snapshot.ID
	outcome.keepsMode = snapshot.Tags[contract.TagRootMode] == ""
	if snapshot.Tags[contract.TagEmpty] == "" {
		if err := unpack(ctx, repository, dir, request, outcome, report); err != nil {
			return err
		}
	}
	select {
	case <-helperOpened.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := hostpath.ApplyRootAttributes(dir, snapshot.Tags); err != nil {
		outcome.Warnings.Count++
		outcome.Warnings.First = append(outcome.Warnings.First, fmt.Sprintf("the volume's root: %s", err))
	}
	return m.flush(dir)
}

// flush has the kernel write the volume to its storage, before anybody is told that it is restored.
func (m *Mover) flush(dir string) error {
	if m.Flush == nil {
		return hostpath.Flush(dir)
	}
	return m.Flush(dir)
}

func unpack(
	ctx context.Context, repository *session.Session, dir string, request RestoreRequest,
	outcome *RestoreOutcome, report func(Progress),
) error {
	result, err := repository.Restore(ctx, restic.RestoreOptions{
		SnapshotID: outcome.SnapshotID, Target: dir, Sparse: request.Sparse, Exclude: leftOut("/"),
	}, bytesOf(report))
	outcome.Warnings, outcome.TotalBytes = result.Warnings, result.TotalBytes
	if errors.Is(err, restic.ErrRestoreMetadata) {
		return nil
	}
	return err
}

// find returns the snapshot that the request means.
func find(ctx context.Context, repository *session.Session, request RestoreRequest) (restic.Snapshot, error) {
	snapshots, err := repository.Snapshots(ctx, request.SnapshotTags)
	if err != nil {
		return restic.Snapshot{}, fmt.Errorf("looking for the snapshot: %w", err)
	}
	if request.SnapshotID == "" {
		if len(snapshots) == 0 {
			return restic.Snapshot{}, fmt.Errorf("repository %s has no snapshot with the tags %s: the volume's backup "+
				"failed, or its snapshot was deleted", repository.URL, describe(request.SnapshotTags))
		}
		return snapshots[len(snapshots)-1], nil
	}
	at := slices.IndexFunc(snapshots, func(s restic.Snapshot) bool {
		return strings.HasPrefix(s.ID, request.SnapshotID)
	})
	if at < 0 {
		return restic.Snapshot{}, fmt.Errorf("repository %s has no snapshot %s with the tags %s: it was deleted",
			repository.URL, path.Base(request.SnapshotID), describe(request.SnapshotTags))
	}
	return snapshots[at], nil
}

func describe(tags map[string]string) string {
	pairs := make([]string, 0, len(tags))
	for key, value := range tags {
		pairs = append(pairs, key+"="+value)
	}
	sort.Strings(pairs)
	return strings.Join(pairs, ", ")
}
