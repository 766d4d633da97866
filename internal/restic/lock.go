// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// staleAfter is when restic itself takes a lock for abandoned (internal/restic/lock.go, StaleLockTimeout).
const staleAfter = 30 * time.Minute

// Lock is a lock in a repository (restic v0.19.1, internal/restic/lock.go).
type Lock struct {
	ID string `json:"-"`
	// Time is when it was last refreshed, which its holder does every five minutes.
	Time time.Time `json:"time"`
	// Exclusive locks, those of forget, prune and check, exclude every other one.
	Exclusive bool   `json:"exclusive"`
	Hostname  string `json:"hostname"`
	Username  string `json:"username"`
	PID       int    `json:"pid"`
}

// Stale says whether restic itself takes the lock for abandoned at that time, wherever its holder is.
func (l Lock) Stale(now time.Time) bool { return now.Sub(l.Time) > staleAfter }

// Expiry is when restic takes the lock for abandoned if it is not refreshed until then.
func (l Lock) Expiry() time.Time { return l.Time.Add(staleAfter) }

// blockedBy matches restic's explanation of ErrLocked (restic v0.19.1, internal/restic/lock.go, alreadyLockedError).
// The lock's time is left to its age: it is printed in the holder's time zone, without the zone.
var blockedBy = regexp.MustCompile(
	`locked( exclusively)? by PID (\d+) on (\S+) by .*` +
		// cspell:ignore hmsµn
		`lock was created at .* \(([0-9.hmsµn]+) ago\) storage ID ([0-9a-f]+)`)

// BlockedBy returns the lock that an ErrLocked met just now, as far as restic tells: its ID is short. It returns false
// for another error.
func BlockedBy(err error, now time.Time) (Lock, bool) {
	var exit *ExitError
	if !errors.As(err, &exit) || !errors.Is(err, ErrLocked) {
		return Lock{}, false
	}
	match := blockedBy.FindStringSubmatch(exit.Message)
	if match == nil {
		return Lock{}, false
	}
	pid, errPID := strconv.Atoi(match[2])
	age, errAge := time.ParseDuration(match[4])
	if errPID != nil || errAge != nil {
		return Lock{}, false
	}
	return Lock{ID: match[5], Time: now.Add(-age), Exclusive: match[1] != "", Hostname: match[3], PID: pid}, true
}

// Unlock removes stale locks: those that were not refreshed for 30 minutes, or whose holder was on a host of this
// name and is gone. Where processes on another machine, or in another container, may have this host's name, the
// second half of that rule removes locks of the living.
func (c *Client) Unlock(ctx context.Context) error {
	if err := c.write(ctx, c.repository.arguments(argUnlock)); err != nil {
		return fmt.Errorf("removing stale locks: %w", err)
	}
	return nil
}

// Locks returns the locks in the repository, without taking one. A lock that goes while they are read is left out.
func (c *Client) Locks(ctx context.Context) ([]Lock, error) {
	ids, err := c.lockIDs(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing locks: %w", err)
	}
	locks := make([]Lock, 0, len(ids))
	for _, id := range ids {
		lock := Lock{ID: id}
		args := append(c.repository.arguments(argCat, "lock", id), flagNoLock)
		if err := c.runJSON(ctx, Command{Args: args}, &lock); err != nil {
			now, listErr := c.lockIDs(ctx)
			if listErr == nil && !slices.Contains(now, id) {
				continue
			}
			return nil, fmt.Errorf("reading lock %s: %w", id, err)
		}
		locks = append(locks, lock)
	}
	return locks, nil
}

func (c *Client) lockIDs(ctx context.Context) ([]string, error) {
	var ids []string
	args := append(c.repository.arguments(argList, "locks"), flagNoLock)
	err := c.run(ctx, Command{Args: args}, func(line []byte) {
		if id := string(line); snapshotID.MatchString(id) {
			ids = append(ids, id)
		}
	})
	return ids, err
}
