// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// ForgetRequest is a set of snapshots of one repository to forget. They are forgotten in one go, since restic takes
// an exclusive lock for it.
type ForgetRequest struct {
	Repository Repository
	// PodVolumeBackups are the names whose snapshots go: also those of attempts that could not tell their ID.
	PodVolumeBackups sets.Set[string]
	// SnapshotIDs go besides.
	SnapshotIDs sets.Set[string]
}

// ForgetOutcome is what became of it.
type ForgetOutcome struct {
	// PodVolumeBackups are those of the request.
	PodVolumeBackups sets.Set[string]
	// Count is how many snapshots there were.
	Count int
}

// Forget removes the snapshots. Those that are gone already are no error. A lock that
// is stale by restic's own rules is removed when it stands in the way; one that is not gives restic.ErrLocked.
// A repository that does not exist has nothing to forget.
func (m *Mover) Forget(ctx context.Context, request ForgetRequest, _ func(Progress)) (ForgetOutcome, error) {
	outcome := ForgetOutcome{PodVolumeBackups: request.PodVolumeBackups}
	err := m.withSession(ctx, request.Repository, func(repository *session.Session) error {
		if repository.ReadOnly {
			return &session.NotUsableError{Message: fmt.Sprintf("BackupStorageLocation %s is read-only: the snapshots "+
				"stay until its accessMode is ReadWrite", request.Repository.Location)}
		}
		ids, err := request.match(ctx, repository)
		if errors.Is(err, restic.ErrRepositoryNotFound) {
			return nil
		}
		if err != nil || len(ids) == 0 {
			return err
		}
		outcome.Count = len(ids)
		return m.forget(ctx, repository, ids)
	})
	return outcome, err
}

func (r ForgetRequest) match(ctx context.Context, repository *session.Session) ([]string, error) {
	snapshots, err := repository.Snapshots(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("listing the snapshots to forget: %w", err)
	}
	var ids []string
	for _, snapshot := range snapshots {
		name := snapshot.Tags[contract.TagPodVolumeBackup]
		if r.SnapshotIDs.Has(snapshot.ID) || (name != "" && r.PodVolumeBackups.Has(name)) {
			ids = append(ids, snapshot.ID)
		}
	}
	return ids, nil
}

func (m *Mover) forget(ctx context.Context, repository *session.Session, ids []string) error {
	err := repository.Forget(ctx, ids)
	if !errors.Is(err, restic.ErrLocked) {
		return err
	}
	if removed, unlocking := m.removeStale(ctx, repository); unlocking != nil || !removed {
		return errors.Join(err, unlocking)
	}
	return repository.Forget(ctx, ids)
}
