// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Snapshot is one snapshot of a repository.
type Snapshot struct {
	ID     string
	Time   time.Time
	Parent string
	// Original is the ID of the snapshot that this one was copied from, or was before somebody changed its tags or its
	// content; empty for one that is as it was made.
	Original string
	Paths    []string
	Hostname string
	// Tags are those of the form key=value.
	Tags map[string]string
	// RawTags are all of them.
	RawTags []string
	// Summary is nil for a snapshot by restic < 0.17.
	Summary *Summary
}

// snapshotObject is how restic writes a snapshot (internal/data/snapshot.go).
type snapshotObject struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Parent   string    `json:"parent"`
	Original string    `json:"original"`
	Paths    []string  `json:"paths"`
	Hostname string    `json:"hostname"`
	Tags     []string  `json:"tags"`
	Summary  *Summary  `json:"summary"`
}

// Snapshots returns the snapshots that have all of the tags, the oldest first.
func (c *Client) Snapshots(ctx context.Context, tags map[string]string) ([]Snapshot, error) {
	args, err := snapshotsArguments(c.repository, tags)
	if err != nil {
		return nil, fmt.Errorf("listing snapshots: %w", err)
	}
	snapshots, _, err := c.listSnapshots(ctx, args)
	return snapshots, err
}

// ViewSnapshots returns all snapshots, the oldest first, and how many there are besides that cannot be read. It takes
// no lock, and waits for none: it is for people to look at. A snapshot that is made or removed meanwhile may be there
// or not, or count as one that cannot be read.
func (c *Client) ViewSnapshots(ctx context.Context) (snapshots []Snapshot, unreadable int, err error) {
	return c.listSnapshots(ctx, append(c.repository.arguments(argSnapshots), flagNoLock))
}

// What restic says of a list that it does not have in full. It ends well nevertheless (restic v0.19.1,
// cmd/restic/find.go, FindFilteredSnapshots).
const (
	textNotListed  = "could not load snapshots: "
	textPassedOver = "Ignoring "
)

func (c *Client) listSnapshots(ctx context.Context, args []string) (list []Snapshot, unreadable int, err error) {
	var (
		objects []snapshotObject
		problem string
	)
	cmd := Command{Args: args, OnText: func(line string) {
		switch {
		case strings.HasPrefix(line, textNotListed):
			problem = strings.TrimPrefix(line, textNotListed)
		case strings.HasPrefix(line, textPassedOver):
			unreadable++
		}
	}}
	err = c.runJSON(ctx, cmd, &objects)
	if err == nil && problem != "" {
		err = fmt.Errorf("%w: %s", ErrBadAnswer, problem)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("listing snapshots: %w", err)
	}
	snapshots := make([]Snapshot, 0, len(objects))
	for _, o := range objects {
		snapshots = append(snapshots, Snapshot{
			ID: o.ID, Time: o.Time, Parent: o.Parent, Original: o.Original, Paths: o.Paths, Hostname: o.Hostname,
			Tags: tagMap(o.Tags), RawTags: o.Tags, Summary: o.Summary,
		})
	}
	slices.SortStableFunc(snapshots, func(a, b Snapshot) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.ID, b.ID))
	})
	return snapshots, unreadable, nil
}

// Forget removes the snapshots. Those that are gone already count as removed. It fails with ErrForgetIncomplete when
// one is still there afterwards, and removes nothing at all when an ID is none, or stands for several snapshots.
func (c *Client) Forget(ctx context.Context, ids []string) error {
	if c.repository.ReadOnly {
		return fmt.Errorf("forgetting snapshots: %w", ErrReadOnly)
	}
	present, err := c.present(ctx, ids)
	if err != nil {
		return fmt.Errorf("forgetting snapshots: %w", err)
	}
	if len(present) == 0 {
		// Never without an ID: restic would take that for a question of policy about all snapshots.
		return nil
	}
	if err := c.write(ctx, forgetArguments(c.repository, present)); err != nil {
		return fmt.Errorf("forgetting snapshots: %w", err)
	}
	// restic 0.19.1 passes over a snapshot that it cannot load, and ends well.
	left, err := c.present(ctx, present)
	if err != nil {
		return fmt.Errorf("making sure that the snapshots are forgotten: %w", err)
	}
	if len(left) > 0 {
		return fmt.Errorf("forgetting snapshots: %w: %s", ErrForgetIncomplete, strings.Join(left, ", "))
	}
	return nil
}

// present returns the full IDs of those of the snapshots that the repository has.
func (c *Client) present(ctx context.Context, ids []string) ([]string, error) {
	for _, id := range ids {
		if !snapshotID.MatchString(id) {
			return nil, fmt.Errorf("%q is not the ID of a snapshot", id)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	snapshots, err := c.Snapshots(ctx, nil)
	if err != nil {
		return nil, err
	}
	return matchIDs(snapshots, ids)
}

func matchIDs(snapshots []Snapshot, ids []string) ([]string, error) {
	var found []string
	for _, id := range ids {
		var matches []string
		for _, snapshot := range snapshots {
			if strings.HasPrefix(snapshot.ID, id) {
				matches = append(matches, snapshot.ID)
			}
		}
		if len(matches) > 1 {
			return nil, fmt.Errorf("ID %q stands for several snapshots: %s", id, strings.Join(matches, ", "))
		}
		found = append(found, matches...)
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}
