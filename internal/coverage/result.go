// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"fmt"
	"time"
)

// Result is the protection of a claim as configured, independent of the time and of the outcome of backups.
type Result struct {
	ignored bool
	// resticPlans are the plans that back up the claim with restic, through this pod and volume.
	resticPlans []*Plan
	pod, volume string
	// best is the best candidate with another method, or without one. It is nil only until the first candidate.
	best *candidate
}

// candidate is one possible result for a claim. It protects the claim if it has a method.
type candidate struct {
	plan        *Plan
	method      Method
	reason      Reason
	message     string
	pod, volume string
}

func (c *candidate) protected() bool { return c != nil && c.method != "" }

// before returns whether the candidate is closer to protection than another one.
func (c *candidate) before(other candidate) bool {
	if c.protected() != other.protected() {
		return c.protected()
	}
	return rank(c.reason) < rank(other.reason)
}

// consider adds a candidate. The zero candidate has no effect.
func (v *Result) consider(c candidate) {
	switch {
	case c.plan == nil:
	case c.method == MethodRestic:
		if len(v.resticPlans) == 0 {
			v.pod, v.volume = c.pod, c.volume
		}
		if len(v.resticPlans) == 0 || v.resticPlans[len(v.resticPlans)-1] != c.plan {
			v.resticPlans = append(v.resticPlans, c.plan)
		}
	case v.best == nil || c.before(*v.best):
		v.best = &c
	}
}

// State returns the state of the claim, given the outcome of its backups.
func (v Result) State(staleness *Staleness, outcome Outcome) State {
	s := State{LastSuccess: outcome.Success, Bytes: outcome.Bytes, Duration: outcome.Duration}
	switch {
	case v.ignored:
		s.Reason = ReasonIgnored
		s.Message = "annotation backup.velero.io/backup-excluded=true declares that the claim needs no backup"
	case len(v.resticPlans) > 0:
		v.setRestic(&s, staleness, outcome)
		if !s.Protected && v.best.protected() {
			v.setBest(&s)
		}
	case v.best != nil:
		v.setBest(&s)
	}
	return s
}

// setBest sets the state to the best candidate with another method than restic, or without one.
func (v Result) setBest(s *State) {
	c := v.best
	s.Protected, s.Method, s.Reason, s.Message = c.protected(), c.method, c.reason, c.message
	s.Pod, s.Volume, s.Schedule = c.pod, c.volume, ""
	if c.plan != nil {
		s.Schedule = c.plan.Name
	}
	switch c.method {
	case MethodSnapshot:
		s.Message = fmt.Sprintf("Velero takes a snapshot in the backups of %s", c.plan.title())
	case MethodNodeAgent:
		s.Message = fmt.Sprintf("Velero's node-agent backs it up in the backups of %s", c.plan.title())
	case MethodRestic:
	}
}

// setRestic sets the state of a claim that restic backs up.
func (v Result) setRestic(s *State, staleness *Staleness, outcome Outcome) {
	plan := staleness.mostFrequent(v.resticPlans)
	s.Method, s.Schedule, s.Pod, s.Volume = MethodRestic, plan.Name, v.pod, v.volume
	what := fmt.Sprintf("volume %s of pod %s", v.volume, v.pod)
	switch {
	case outcome.Success.IsZero() && outcome.Failure.IsZero():
		s.Reason = ReasonNeverSucceeded
		s.Message = fmt.Sprintf("the backups of %s include %s, and none of them has ended yet: wait for the next one, "+
			"or create one with `velero backup create --from-schedule %s`", plan.title(), what, plan.Name)
	case outcome.Success.IsZero():
		s.Reason = ReasonNeverSucceeded
		s.Message = fmt.Sprintf("no backup of %s has succeeded; the last one failed at %s: %s", what,
			outcome.Failure.UTC().Format(time.RFC3339), outcome.Message)
	case outcome.failed():
		s.Reason = ReasonLastFailed
		s.Message = fmt.Sprintf("the last backup of %s failed at %s: %s", what,
			outcome.Failure.UTC().Format(time.RFC3339), outcome.Message)
	case !staleness.fresh(plan, outcome.Success):
		s.Reason = ReasonStale
		s.Message = fmt.Sprintf("the last successful backup of %s ended at %s, and %s since then: see "+
			"`velero schedule "+
			"describe %s` and the backups of that schedule", what, outcome.Success.UTC().Format(time.RFC3339),
			staleText(staleness.StaleAfter), plan.Name)
	default:
		s.Protected = true
		s.Message = fmt.Sprintf("restic backs up %s in the backups of %s", what, plan.title())
	}
}

func staleText(staleAfter time.Duration) string {
	if staleAfter > 0 {
		return "none succeeded for more than " + staleAfter.String()
	}
	return "two runs of its schedule were due"
}
