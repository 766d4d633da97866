// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage_test

import (
	"testing"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
)

func TestOverdue(t *testing.T) {
	cases := map[string]struct{ expression, want string }{
		"every day":             {"0 1 * * *", "2026-05-19T01:00:00Z"},
		"every minute":          {"* * * * *", "2026-05-20T11:59:00Z"},
		"@weekly":               {"@weekly", "2026-05-10T00:00:00Z"},
		"@every":                {"@every 6h", "2026-05-20T00:00:00Z"},
		"in a time zone":        {"CRON_TZ=America/New_York 0 1 * * *", "2026-05-19T05:00:00Z"},
		"in a quoted time zone": {`TZ="Europe/Berlin" 0 1 * * *`, "2026-05-18T23:00:00Z"},
		"on the first Sunday":   {"0 2 1-7 * SUN", "2026-04-05T02:00:00Z"},
		"once a year":           {"0 0 1 1 *", "2025-01-01T00:00:00Z"},
		"on this very day":      {"0 12 20 * *", "2026-04-20T12:00:00Z"},
		"on February 29":        {"0 0 29 2 *", "2020-02-29T00:00:00Z"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			timetable, err := coverage.ParseTimetable(c.expression)
			if err != nil {
				t.Fatal(err)
			}
			// The result must not depend on the time zone of now.
			got := timetable.Overdue(now.In(time.FixedZone("", 7200))).UTC().Format(time.RFC3339)
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestOverdueInSpring has a daily run at an hour that daylight saving time skips on one day. The run is due that day,
// too.
func TestOverdueInSpring(t *testing.T) {
	timetable, err := coverage.ParseTimetable(`TZ="Europe/Berlin" 30 2 * * *`)
	if err != nil {
		t.Fatal(err)
	}
	after := time.Date(2026, 3, 30, 12, 0, 0, 0, time.UTC) // on March 29, 02:30 does not exist
	if got := timetable.Overdue(after).UTC().Format(time.RFC3339); got != "2026-03-29T01:30:00Z" {
		t.Errorf("two runs became due since %s", got)
	}
}

func TestParseTimetable(t *testing.T) {
	for name, expression := range map[string]string{
		"nothing": "", "too few fields": "* * *", "no such zone": "CRON_TZ=Nowhere * * * * *", "only a zone": "TZ=UTC",
	} {
		t.Run(name, func(t *testing.T) {
			if timetable, err := coverage.ParseTimetable(expression); err == nil || timetable != nil {
				t.Errorf("got %v and no error", timetable)
			}
		})
	}
}
