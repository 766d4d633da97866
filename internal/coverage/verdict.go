// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"fmt"
	"time"
)

// Verdict is what becomes of a claim by what is configured, whatever the time is and whatever became of its backups.
type Verdict struct {
	ignored bool
	// takers are the plans whose backups take the claim with restic, through pod and volume.
	takers      []*Plan
	pod, volume string
	// best is the best of the rest, nil only while it is not known.
	best *candidate
}

// candidate is what may become of a claim. One with a method protects it.
type candidate struct {
	plan        *Plan
	method      Method
	reason      Reason
	message     string
	pod, volume string
}

func (c *candidate) protected() bool { return c != nil && c.method != "" }

// before says whether it is nearer to protection than another one.
func (c *candidate) before(other candidate) bool {
	if c.protected() != other.protected() {
		return c.protected()
	}
	return rank(c.reason) < rank(other.reason)
}

// consider takes a candidate into account. The zero one says nothing.
func (v *Verdict) consider(c candidate) {
	switch {
	case c.plan == nil:
	case c.method == MethodRestic:
		if len(v.takers) == 0 {
			v.pod, v.volume = c.pod, c.volume
		}
		if len(v.takers) == 0 || v.takers[len(v.takers)-1] != c.plan {
			v.takers = append(v.takers, c.plan)
		}
	case v.best == nil || c.before(*v.best):
		v.best = &c
	}
}

// At returns the state of the claim at a moment, given how its backups went.
func (v Verdict) At(m *Moment, outcome Outcome) State {
	s := State{LastSuccess: outcome.Success, Bytes: outcome.Bytes, Duration: outcome.Duration}
	switch {
	case v.ignored:
		s.Reason, s.Message = ReasonIgnored, "annotation backup.velero.io/backup-excluded says that it needs no backup"
	case len(v.takers) > 0:
		v.taken(&s, m, outcome)
		if !s.Protected && v.best.protected() {
			v.set(&s)
		}
	case v.best != nil:
		v.set(&s)
	}
	return s
}

// set tells what the best candidate beside restic is.
func (v Verdict) set(s *State) {
	c := v.best
	s.Protected, s.Method, s.Reason, s.Message = c.protected(), c.method, c.reason, c.message
	s.Pod, s.Volume, s.Schedule = c.pod, c.volume, ""
	if c.plan != nil {
		s.Schedule = c.plan.Name
	}
	switch c.method {
	case MethodSnapshot:
		s.Message = fmt.Sprintf("Velero makes a snapshot in the backups of %s", c.plan.title())
	case MethodNodeAgent:
		s.Message = fmt.Sprintf("Velero's node-agent takes it in the backups of %s", c.plan.title())
	case MethodRestic:
	}
}

// taken tells how it goes with a claim whose data restic takes.
func (v Verdict) taken(s *State, m *Moment, outcome Outcome) {
	plan := m.busiest(v.takers)
	s.Method, s.Schedule, s.Pod, s.Volume = MethodRestic, plan.Name, v.pod, v.volume
	what := fmt.Sprintf("volume %s of pod %s", v.volume, v.pod)
	switch {
	case outcome.Success.IsZero() && outcome.Failure.IsZero():
		s.Reason = ReasonNeverSucceeded
		s.Message = fmt.Sprintf("%s is taken in the backups of %s, and none of them has ended yet: wait for the next "+
			"one, or make it with `velero backup create --from-schedule %s`", what, plan.title(), plan.Name)
	case outcome.Success.IsZero():
		s.Reason = ReasonNeverSucceeded
		s.Message = fmt.Sprintf("no backup of %s has succeeded; the last one failed at %s: %s", what,
			outcome.Failure.UTC().Format(time.RFC3339), outcome.Message)
	case outcome.failed():
		s.Reason = ReasonLastFailed
		s.Message = fmt.Sprintf("the last backup of %s failed at %s: %s", what,
			outcome.Failure.UTC().Format(time.RFC3339), outcome.Message)
	case !m.fresh(plan, outcome.Success):
		s.Reason = ReasonStale
		s.Message = fmt.Sprintf("the last backup of %s that succeeded ended at %s, and %s since: see `velero schedule "+
			"describe %s` and the backups of that schedule", what, outcome.Success.UTC().Format(time.RFC3339),
			late(m.StaleAfter), plan.Name)
	default:
		s.Protected = true
		s.Message = fmt.Sprintf("%s is taken with restic in the backups of %s", what, plan.title())
	}
}

func late(staleAfter time.Duration) string {
	if staleAfter > 0 {
		return "there was none for more than " + staleAfter.String()
	}
	return "two runs of its schedule were due"
}
