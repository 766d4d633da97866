// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer

import (
	"context"
	"slices"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// unlockTries is how often stale locks are removed. restic passes over a lock of a process whose number is alive again,
// which may be restic itself: the next one has another number.
const unlockTries = 2

// LocksRequest is a repository whose locks are looked at.
type LocksRequest struct {
	Repository Repository
}

// LocksOutcome is what was found.
type LocksOutcome struct {
	// Locks are those that are left.
	Locks []restic.Lock
}

// Locks removes the locks that are stale by restic's own rules, and returns the others. Of a read-only repository it
// removes none.
func (m *Mover) Locks(ctx context.Context, request LocksRequest, _ func(Progress)) (LocksOutcome, error) {
	var outcome LocksOutcome
	err := m.withSession(ctx, request.Repository, func(repository *session.Session) error {
		_, err := m.removeStale(ctx, repository)
		if err != nil {
			return err
		}
		outcome.Locks, err = repository.Locks(ctx)
		return err
	})
	return outcome, err
}

// removeStale removes locks that were not refreshed for 30 minutes, and those of processes of this host that are gone.
// It says whether it has removed any.
func (m *Mover) removeStale(ctx context.Context, repository *session.Session) (bool, error) {
	removed := false
	for range unlockTries {
		locks, err := repository.Locks(ctx)
		if err != nil || repository.ReadOnly || !m.mayUnlock(locks, m.Clock.Now()) {
			return removed, err
		}
		if err := repository.Unlock(ctx); err != nil {
			return removed, err
		}
		left, err := repository.Locks(ctx)
		if err != nil {
			return removed, err
		}
		gone := slices.ContainsFunc(locks, func(lock restic.Lock) bool {
			return !slices.ContainsFunc(left, func(other restic.Lock) bool { return other.ID == lock.ID })
		})
		removed = removed || gone
		if gone && !m.mayUnlock(left, m.Clock.Now()) {
			return removed, nil
		}
	}
	return removed, nil
}

// mayUnlock says whether `restic unlock` has anything to do, and does no harm: it takes a process of this host that it
// does not see for dead, which is wrong where other containers have the same host name.
func (m *Mover) mayUnlock(locks []restic.Lock, now time.Time) bool {
	useful := false
	for _, lock := range locks {
		switch {
		case lock.Stale(now):
			useful = true
		case lock.Hostname == m.Host && m.SharedHost:
			return false
		case lock.Hostname == m.Host:
			useful = true
		}
	}
	return useful
}
