// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"fmt"
	"time"
	_ "time/tzdata" // CRON_TZ=… must work in images without zone files, as it does in Velero

	cron "github.com/netresearch/go-cron"
)

// Timetable is when a Schedule runs. A nil Timetable never runs.
type Timetable struct {
	runs cron.Schedule
}

// ParseTimetable parses spec.schedule of a Schedule with the same parser as Velero. Parsers differ in combinations of
// day of month and day of week, in quotes around a time zone, and in hours that daylight saving time skips (velero
// v1.18.3, pkg/controller/schedule_controller.go, parseCronSchedule).
func ParseTimetable(expression string) (t *Timetable, err error) {
	defer func() {
		// The parser panics on some invalid expressions; Velero recovers from that, too.
		if panicked := recover(); panicked != nil {
			t, err = nil, fmt.Errorf("reading schedule %q: %v", expression, panicked)
		}
	}()
	runs, err := cron.ParseStandard(expression)
	if err != nil {
		return nil, fmt.Errorf("reading schedule %q: %w", expression, err)
	}
	return &Timetable{runs}, nil
}

// maxLookback limits how far Overdue looks back. February 29 is eight years apart at most.
const maxLookback = 20 * 366 * 24 * time.Hour

// Overdue returns the time before which a last success is stale: since then, two runs became due. It returns the zero
// time if there were fewer than two runs.
func (t *Timetable) Overdue(now time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	now = now.UTC() // Velero's server runs in UTC, and schedules without a time zone use the server's
	if every, constant := t.runs.(cron.ConstantDelaySchedule); constant {
		return now.Add(-2 * every.Delay)
	}
	// The parser only looks ahead. Start with a short lookback, so that a frequent schedule has few runs in it.
	for back := time.Minute; back <= maxLookback; back *= 2 {
		if second := t.secondToLast(now.Add(-back), now); !second.IsZero() {
			return second
		}
	}
	return time.Time{}
}

// secondToLast returns the second to last run after begin and until end; zero if there are fewer than two.
func (t *Timetable) secondToLast(begin, end time.Time) time.Time {
	var last, second time.Time
	for run := t.runs.Next(begin); !run.IsZero() && !run.After(end); run = t.runs.Next(run) {
		last, second = run, last
	}
	return second
}
