// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package board

import (
	"cmp"
	"slices"
	"time"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// Board is the state of what is watched. Its methods take the time, so that the same samples give the same picture.
type Board struct {
	operation Operation
	rows      map[string]*row
}

type row struct {
	Volume
	meter meter
}

// New returns a board that knows no volume yet.
func New() *Board { return &Board{rows: map[string]*row{}} }

// SetOperation takes what Velero's object says now.
func (b *Board) SetOperation(operation Operation) { b.operation = operation }

// Operation returns what Velero's object said last.
func (b *Board) Operation() Operation { return b.operation }

// Set takes what one volume's object says now.
func (b *Board) Set(now time.Time, volume Volume) {
	r := b.rows[volume.Key]
	if r == nil {
		r = &row{}
		b.rows[volume.Key] = r
	}
	r.Volume = volume
	if volume.Phase == resticv1.PhaseInProgress {
		r.meter.observe(now, &r.Volume)
	}
}

// Replace takes a list of all volumes that there are.
func (b *Board) Replace(now time.Time, volumes []Volume) {
	there := make(map[string]bool, len(volumes))
	for _, volume := range volumes {
		there[volume.Key] = true
		b.Set(now, volume)
	}
	for key := range b.rows {
		if !there[key] {
			delete(b.rows, key)
		}
	}
}

// Well says whether everything that has ended so far has ended well: no volume failed or was canceled and, once
// Velero's phase is final, that is a good one.
func (b *Board) Well() bool {
	for _, r := range b.rows {
		if r.Phase == resticv1.PhaseFailed || r.Phase == resticv1.PhaseCanceled {
			return false
		}
	}
	return !b.operation.Final || b.operation.Good
}

// rank orders rows as they are shown while they are watched: what moves first, then what went wrong.
func rank(phase resticv1.VolumePhase) int {
	switch phase {
	case resticv1.PhaseInProgress:
		return 0
	case resticv1.PhaseFailed, resticv1.PhaseCanceled:
		return 1
	case resticv1.PhaseNew:
		return 2
	case resticv1.PhaseSkipped:
		return 3
	case resticv1.PhaseCompleted:
		return 4
	}
	return 2
}

func (b *Board) byRank() []*row {
	return b.sorted(func(x, y *row) int { return cmp.Compare(rank(x.Phase), rank(y.Phase)) })
}

// sorted returns the rows in an order, those that are equal in it by label.
func (b *Board) sorted(order func(x, y *row) int) []*row {
	rows := make([]*row, 0, len(b.rows))
	for _, r := range b.rows {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(x, y *row) int {
		return cmp.Or(order(x, y), cmp.Compare(x.Label, y.Label), cmp.Compare(x.Key, y.Key))
	})
	return rows
}

// sums add up the volumes.
type sums struct {
	total, done, running, waiting, failed, skipped int
	warnings                                       int64
	// doneBytes of allBytes; partial says that the totals of some volumes are not known yet.
	doneBytes, allBytes int64
	partial             bool
	rate                float64
	rateKnown           bool
	left                time.Duration
	leftKnown           bool
	// deadline is the first of those that are still to be kept; zero without one.
	deadline time.Time
}

func (b *Board) sums(now time.Time) sums {
	s := sums{total: len(b.rows), leftKnown: true}
	for _, r := range b.rows {
		s.warnings += r.Warnings
		s.count(r)
		if r.Phase.Final() {
			continue
		}
		if !r.Deadline.IsZero() && (s.deadline.IsZero() || r.Deadline.Before(s.deadline)) {
			s.deadline = r.Deadline
		}
		s.follow(now, r)
	}
	s.leftKnown = s.leftKnown && s.running > 0
	return s
}

func (s *sums) count(r *row) {
	switch r.Phase {
	case resticv1.PhaseCompleted:
		s.done++
	case resticv1.PhaseInProgress:
		s.running++
	case resticv1.PhaseFailed, resticv1.PhaseCanceled:
		s.failed++
		return
	case resticv1.PhaseSkipped:
		s.skipped++
		return
	case resticv1.PhaseNew:
		s.waiting++
	}
	s.doneBytes += r.Done
	s.allBytes += max(r.Total, r.Done)
}

// follow adds what a volume that has not ended tells of speed and time. How long all will take is only known when each
// of them is at work.
func (s *sums) follow(now time.Time, r *row) {
	if r.Total == 0 {
		s.partial = true
	}
	if r.Phase != resticv1.PhaseInProgress {
		s.leftKnown = false
		return
	}
	if rate, known := r.meter.speed(now); known {
		s.rate, s.rateKnown = s.rate+rate, true
	}
	left, known := r.meter.left(now)
	s.left = max(s.left, left)
	if finishing := r.Total > 0 && r.Done >= r.Total; !known && !finishing {
		s.leftKnown = false
	}
}
