// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer

import (
	"context"
	"errors"
	"fmt"

	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// ProbeRequest is a repository to open, or to make.
type ProbeRequest struct {
	Repository Repository
	// KnownID is the ID under which the repository was last seen; empty if it never was.
	KnownID string
	// AllowWellKnown permits a new repository with the password that Velero itself gives to everybody.
	AllowWellKnown bool
	// OpenOnly forbids a new repository: somebody wants to read, and there is nothing to be read in a new one.
	OpenOnly bool
}

// ProbeOutcome is what was found, as far as it became known.
type ProbeOutcome struct {
	// ID is restic's ID of the repository.
	ID string
	// URL is the repository as restic names it.
	URL string
	// Made says that the repository is new.
	Made bool
}

// Probe opens a repository, and makes it if it does not exist and nobody has seen it before. It returns a
// *session.NotUsableError for whatever somebody must mend, else the errors of restic.Client.
func (m *Mover) Probe(ctx context.Context, request ProbeRequest, _ func(Progress)) (ProbeOutcome, error) {
	var outcome ProbeOutcome
	err := m.withSession(ctx, request.Repository, func(repository *session.Session) error {
		outcome.URL = repository.URL
		config, err := m.open(ctx, repository)
		if errors.Is(err, restic.ErrRepositoryNotFound) {
			if err := m.mayMake(repository, request); err != nil {
				return err
			}
			// One that was made since is as good. Two that are made at the very same moment spoil each other, and
			// restic has no guard against that: within a cluster only the leader makes one. What two clusters have
			// spoilt shows when it is opened.
			made := repository.Init(ctx)
			if made != nil && !errors.Is(made, restic.ErrAlreadyInitialized) {
				return made
			}
			outcome.Made = made == nil
			config, err = m.open(ctx, repository)
		}
		if errors.Is(err, restic.ErrWrongPassword) {
			return &session.NotUsableError{Message: fmt.Sprintf("repository %s does not open with the password in "+
				"Secret %s/%s, key %s: put the password there with which the repository was made", repository.URL,
				m.Opener.Namespace, repository.Password.Secret, contract.PasswordSecretKey)}
		}
		if errors.Is(err, restic.ErrConfigDamaged) {
			return damaged(repository.URL, request.KnownID)
		}
		if err != nil {
			return err
		}
		outcome.ID = config.ID
		return nil
	})
	return outcome, err
}

// damaged says what to do about a repository whose configuration does not fit the key that its password opens.
func damaged(url, knownID string) error {
	if knownID != "" {
		return &session.NotUsableError{Message: fmt.Sprintf("the files config and keys of repository %s (id %.8s) do "+
			"not fit each other any more, so nothing in it can be read: bring those files back from a copy of the "+
			"bucket", url, knownID)}
	}
	return &session.NotUsableError{Message: fmt.Sprintf("the files config and keys of repository %s do not fit each "+
		"other. Two clusters that make it at the same moment leave it so: if no backup has ever been completed in it, "+
		"remove its folder from the bucket, and it is made again. If there are backups in it, bring those files back "+
		"from a copy of the bucket", url)}
}

// mayMake says why a repository must not be made, if it must not.
func (m *Mover) mayMake(repository *session.Session, request ProbeRequest) error {
	switch {
	case repository.ReadOnly:
		return &session.NotUsableError{Message: fmt.Sprintf("there is no repository at %s, and BackupStorageLocation "+
			"%s is read-only, so none is made", repository.URL, request.Repository.Location)}
	case request.KnownID != "":
		return &session.NotUsableError{Message: fmt.Sprintf("repository %s (id %.8s) is gone from %s: restore the "+
			"bucket, or delete this ResticRepository to begin a new one", request.Repository.Namespace, request.KnownID,
			repository.URL)}
	case request.OpenOnly:
		return &session.NotUsableError{Message: fmt.Sprintf("there is no repository at %s, so nothing of namespace %s "+
			"can be restored from it: BackupStorageLocation %s may name another bucket, prefix or resticRepoPrefix "+
			"than the backups were made with", repository.URL, request.Repository.Namespace,
			request.Repository.Location)}
	case repository.Password.WellKnown && !request.AllowWellKnown:
		return &session.NotUsableError{Message: repository.Password.WellKnownMessage(m.Opener.Namespace)}
	}
	return repository.CheckEmptyFolder()
}
