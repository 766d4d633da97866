// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import "time"

// Moment is a point in time, with what is the same for all claims then.
type Moment struct {
	Now time.Time
	// StaleAfter is how old a last success may be; 0 for two runs of the Schedule.
	StaleAfter time.Duration
	// Running has, by the name of a Schedule of which a Backup is on its way, when that was made: until it ends Velero
	// makes no other.
	Running map[string]time.Time

	due, bound map[*Plan]time.Time
}

// NewMoment returns a moment at which no Backup is on its way.
func NewMoment(now time.Time, staleAfter time.Duration) *Moment {
	return &Moment{Now: now, StaleAfter: staleAfter, due: map[*Plan]time.Time{}, bound: map[*Plan]time.Time{}}
}

// fresh says whether a last success is not stale under a plan.
func (m *Moment) fresh(p *Plan, success time.Time) bool {
	if m.StaleAfter > 0 {
		return m.Now.Sub(success) <= m.StaleAfter
	}
	return !success.Before(m.oldest(p))
}

// oldest returns the time before which a last success is stale under a plan. What was due while a Backup is on its way
// does not count, and what was due before does.
func (m *Moment) oldest(p *Plan) time.Time {
	begun, running := m.Running[p.Name]
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

// busiest returns the plan that makes backups most often, by which a claim that several take is judged: whoever has a
// claim backed up each night wants to know that this has stopped, whatever is done each month. A Schedule that is too
// new to have missed two runs is not held against those that were there before.
func (m *Moment) busiest(plans []*Plan) *Plan {
	best := plans[0]
	for _, p := range plans[1:] {
		if seasoned := m.seasoned(p); seasoned != m.seasoned(best) {
			if seasoned {
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

// seasoned says whether two runs were due since the plan's Schedule was made.
func (m *Moment) seasoned(p *Plan) bool { return !m.overdue(p).Before(p.created) }

// overdue returns the time since which two runs were due, and remembers it.
func (m *Moment) overdue(p *Plan) time.Time {
	due, known := m.due[p]
	if !known {
		due = p.Timetable.Overdue(m.Now)
		m.due[p] = due
	}
	return due
}
