// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"fmt"
	"time"
	_ "time/tzdata" // CRON_TZ=… must mean here what it means to Velero, also in an image without zone files

	cron "github.com/netresearch/go-cron"
)

// Timetable is when a Schedule runs. A nil one never does.
type Timetable struct {
	runs cron.Schedule
}

// ParseTimetable reads spec.schedule of a Schedule as Velero does, with the same parser, since these differ: in what a
// day of the month and a day of the week mean together, in quotes around a time zone, and in what becomes of an hour
// that daylight saving leaves out (velero v1.18.3, pkg/controller/schedule_controller.go, parseCronSchedule).
func ParseTimetable(expression string) (t *Timetable, err error) {
	defer func() {
		// The parser panics over some of what it does not understand, as Velero knows, too.
		if trouble := recover(); trouble != nil {
			t, err = nil, fmt.Errorf("reading schedule %q: %v", expression, trouble)
		}
	}()
	runs, err := cron.ParseStandard(expression)
	if err != nil {
		return nil, fmt.Errorf("reading schedule %q: %w", expression, err)
	}
	return &Timetable{runs}, nil
}

// farthest bounds how far back runs are looked for: a date such as February 29 comes every eight years at worst.
const farthest = 20 * 366 * 24 * time.Hour

// Overdue returns the time before which a last success is stale: at or after it, two runs were due by now. It returns
// the zero time if there have not been two.
func (t *Timetable) Overdue(now time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	now = now.UTC() // a schedule without a time zone means that of Velero's server
	if every, constant := t.runs.(cron.ConstantDelaySchedule); constant {
		return now.Add(-2 * every.Delay)
	}
	// cron only looks ahead: begin far enough back, but no farther, so that few runs are stepped through.
	for back := time.Minute; back <= farthest; back *= 2 {
		if second := t.lastButOne(now.Add(-back), now); !second.IsZero() {
			return second
		}
	}
	return time.Time{}
}

// lastButOne returns the last run but one in the time after begin up to end, zero if there are fewer than two.
func (t *Timetable) lastButOne(begin, end time.Time) time.Time {
	var last, second time.Time
	for run := t.runs.Next(begin); !run.IsZero() && !run.After(end); run = t.runs.Next(run) {
		last, second = run, last
	}
	return second
}
