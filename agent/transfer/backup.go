// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/velero-restic/velero-plugin-for-restic/agent/hostpath"
	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// BackupRequest is one volume to back up.
type BackupRequest struct {
	Repository Repository
	Volume     hostpath.Volume
	// Tags are put on the snapshot. They must hold contract.TagPodVolumeBackup.
	Tags map[string]string
	// Parent is the snapshot to compare with as far as the cluster knows; empty if it knows of none.
	Parent string
	// Repeated says that an earlier attempt may have finished its snapshot without being able to say so.
	Repeated bool
}

// BackupOutcome is what became of it. Path and URL are set as far as they became known, even with an error.
type BackupOutcome struct {
	SnapshotID string
	// Parent is the snapshot that was compared with.
	Parent string
	// Path is the volume's directory on this node.
	Path string
	// URL is the repository as restic names it.
	URL      string
	Summary  restic.Summary
	Warnings restic.Warnings
}

// Backup takes a volume into its repository. A volume of which some files could not be read has a snapshot and
// warnings, and no error. Errors are those of session.Opener.Open, hostpath.Finder.Find and restic.Client.Backup.
func (m *Mover) Backup(ctx context.Context, request BackupRequest, report func(Progress)) (BackupOutcome, error) {
	var outcome BackupOutcome
	dir, err := m.Finder.Find(request.Volume)
	if err != nil {
		return outcome, err
	}
	outcome.Path = dir
	err = m.withSession(ctx, request.Repository, func(repository *session.Session) error {
		outcome.URL = repository.URL
		return m.backupInto(ctx, repository, request, &outcome, report)
	})
	err = m.explain(&outcome.Warnings, err)
	if unfit := m.Finder.MountWarning(dir, request.Volume); unfit != "" && outcome.SnapshotID != "" {
		outcome.Warnings.AddFirst(unfit)
	}
	return outcome, err
}

func (m *Mover) backupInto(
	ctx context.Context, repository *session.Session, request BackupRequest, outcome *BackupOutcome,
	report func(Progress),
) error {
	if repository.ReadOnly {
		return &session.NotUsableError{Message: fmt.Sprintf("BackupStorageLocation %s is read-only: set its "+
			"accessMode to ReadWrite, or back up to another one", request.Repository.Location)}
	}
	if request.Repeated {
		// The earlier attempt may have been killed, and left its lock.
		if _, err := m.removeStale(ctx, repository); err != nil {
			return err
		}
		done, err := finishedEarlier(ctx, repository, request.Tags, outcome)
		if err != nil || done {
			return err
		}
	}
	attributes, err := hostpath.ReadRootAttributes(outcome.Path)
	if err != nil {
		return fmt.Errorf("reading the attributes of the volume's root: %w", err)
	}
	options := restic.BackupOptions{
		Dir: outcome.Path, Tags: maps.Clone(request.Tags), Host: contract.Host, Parent: request.Parent,
		Exclude: leftOut(outcome.Path), ReadConcurrency: m.ReadConcurrency,
	}
	maps.Copy(options.Tags, attributes)
	maps.Copy(options.Tags, m.origin())
	if options.Parent == "" {
		if options.Parent, err = parentIn(ctx, repository, request.Tags); err != nil {
			return err
		}
	}
	result, err := backup(ctx, repository, &options, bytesOf(report))
	outcome.SnapshotID, outcome.Summary, outcome.Warnings = result.SnapshotID, result.Summary, result.Warnings
	outcome.Parent = options.Parent
	if errors.Is(err, restic.ErrSourceIncomplete) && result.SnapshotID != "" && result.Summary.TotalFilesProcessed > 0 {
		return nil
	}
	return err
}

// backup runs restic, and again where the first run tells that it was asked for the wrong thing.
func backup(
	ctx context.Context, repository *session.Session, options *restic.BackupOptions, report func(restic.Progress),
) (restic.BackupResult, error) {
	result, err := repository.Backup(ctx, *options, report)
	if errors.Is(err, restic.ErrParentNotFound) {
		// The cluster remembers a snapshot that the repository has lost.
		if options.Parent, err = parentIn(ctx, repository, options.Tags); err != nil {
			return result, err
		}
		result, err = repository.Backup(ctx, *options, report)
	}
	if errors.Is(err, restic.ErrEmptySnapshot) {
		// restic makes no snapshot without any file. The volume's own path gives it one, so that a restore can tell
		// an empty volume from one whose backup is lost.
		options.Parent = ""
		options.Paths = []string{options.Dir}
		options.Tags[contract.TagEmpty] = "true"
		result, err = repository.Backup(ctx, *options, report)
	}
	return result, err
}

// finishedEarlier takes over the snapshot of an earlier attempt, if there is one.
func finishedEarlier(
	ctx context.Context, repository *session.Session, tags map[string]string, outcome *BackupOutcome,
) (bool, error) {
	name := contract.TagPodVolumeBackup
	snapshots, err := repository.Snapshots(ctx, map[string]string{name: tags[name]})
	if err != nil {
		return false, fmt.Errorf("looking for the snapshot of an earlier attempt: %w", err)
	}
	if len(snapshots) == 0 {
		return false, nil
	}
	latest := snapshots[len(snapshots)-1]
	outcome.SnapshotID, outcome.Parent = latest.ID, latest.Parent
	if latest.Summary != nil {
		outcome.Summary = *latest.Summary
	}
	return true, nil
}

// parentIn returns the newest snapshot of the same claim, or nothing for a volume that is no claim's. It finds what
// another cluster, or Velero itself, has written there.
func parentIn(ctx context.Context, repository *session.Session, tags map[string]string) (string, error) {
	claim := tags[contract.TagPVCUID]
	if claim == "" {
		return "", nil
	}
	snapshots, err := repository.Snapshots(ctx, map[string]string{contract.TagPVCUID: claim})
	if err != nil {
		return "", fmt.Errorf("looking for the parent snapshot: %w", err)
	}
	for i := len(snapshots) - 1; i >= 0; i-- {
		if snapshots[i].Tags[contract.TagEmpty] == "" {
			return snapshots[i].ID, nil
		}
	}
	return "", nil
}
