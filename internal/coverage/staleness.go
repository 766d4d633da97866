// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import "time"

// Staleness decides at one time whether the last success of claims is stale.
type Staleness struct {
	Now time.Time
	// StaleAfter is the maximum age of a last success; 0 for two runs of the Schedule.
	StaleAfter time.Duration
	// InProgress maps the names of Schedules with a Backup in progress to when that was created. Velero creates no
	// other Backup of the Schedule until it ends.
	InProgress map[string]time.Time

	due, bound map[*Plan]time.Time
}

// NewStaleness returns a Staleness for a time without Backups in progress.
func NewStaleness(now time.Time, staleAfter time.Duration) *Staleness {
	return &Staleness{Now: now, StaleAfter: staleAfter, due: map[*Plan]time.Time{}, bound: map[*Plan]time.Time{}}
}

// fresh returns whether a last success under a plan is not stale.
func (m *Staleness) fresh(p *Plan, success time.Time) bool {
	if m.StaleAfter > 0 {
		return m.Now.Sub(success) <= m.StaleAfter
	}
	return !success.Before(m.oldest(p))
}

// oldest returns the time before which a last success under a plan is stale. Runs that became due while a Backup is in
// progress do not count.
func (m *Staleness) oldest(p *Plan) time.Time {
	begun, running := m.InProgress[p.Name]
	if !running || !begun.Before(m.Now) {
		return m.overdue(p)
	}
	bound, known := m.bound[p]
	if !known {
		bound = p.Timetable.Overdue(begun)
		m.bound[p] = bound
	}
	return bound
}

// mostFrequent returns the plan that creates backups most often. A claim that several plans include is stale by that
// plan: if nightly backups stop, a monthly one must not hide this. A Schedule that is too new to have missed two runs
// does not take precedence over older ones.
func (m *Staleness) mostFrequent(plans []*Plan) *Plan {
	best := plans[0]
	for _, p := range plans[1:] {
		if hadTwoRuns := m.hadTwoRuns(p); hadTwoRuns != m.hadTwoRuns(best) {
			if hadTwoRuns {
				best = p
			}
			continue
		}
		if m.overdue(p).After(m.overdue(best)) {
			best = p
		}
	}
	return best
}

// hadTwoRuns returns whether two runs became due since the plan's Schedule was created.
func (m *Staleness) hadTwoRuns(p *Plan) bool { return !m.overdue(p).Before(p.created) }

// overdue returns the time since when two runs became due, and caches it.
func (m *Staleness) overdue(p *Plan) time.Time {
	due, known := m.due[p]
	if !known {
		due = p.Timetable.Overdue(m.Now)
		m.due[p] = due
	}
	return due
}
