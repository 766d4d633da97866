// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package board

import (
	"math"
	"testing"
	"time"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// start is when everything here begins.
func start() time.Time { return time.Date(2026, 11, 22, 22, 0, 0, 0, time.UTC) }

func at(seconds float64) time.Time {
	return start().Add(time.Duration(seconds * float64(time.Second)))
}

const mib = 1 << 20

// sample is what the status said so many seconds after the start.
type sample struct {
	second      float64
	done, total int64
}

func metered(started time.Time, samples ...sample) *meter {
	m := &meter{}
	for _, s := range samples {
		volume := Volume{Phase: resticv1.PhaseInProgress, Done: s.done, Total: s.total, Started: started}
		if !started.IsZero() {
			volume.Heartbeat = at(s.second).Truncate(time.Second)
		}
		m.observe(at(s.second), &volume)
	}
	return m
}

func TestMeter(t *testing.T) {
	steady := []sample{{0, 0, 100 * mib}, {2, 20 * mib, 100 * mib}, {4, 40 * mib, 100 * mib}, {6, 60 * mib, 100 * mib}}
	for name, test := range map[string]struct {
		started time.Time
		samples []sample
		// now is when the meter is read, in seconds.
		now float64
		// speed in MiB/s and left in seconds; negative ones are not known.
		speed, left float64
	}{
		"nothing is known after one sample":              {samples: steady[:1], now: 0, speed: -1, left: -1},
		"two samples make a rate, and no promise":        {samples: steady[:2], now: 2, speed: 10, left: -1},
		"a steady rate and a settled total make a time":  {samples: steady, now: 6, speed: 10, left: 4},
		"the time goes on between samples":               {samples: steady, now: 7, speed: 10, left: 3},
		"it never promises less than a second":           {samples: steady, now: 10.5, speed: 10, left: 1},
		"who comes later takes the mean since the start": {start(), []sample{{20, 50 * mib, 100 * mib}}, 20, 2.5, 20},
		"what has just begun when it is first seen is waited for": {
			start(), []sample{{1, 50 * mib, 100 * mib}}, 1, -1, -1,
		},
		"while the total grows there is no time": {
			samples: []sample{{0, 0, 10 * mib}, {2, 10 * mib, 30 * mib}, {4, 20 * mib, 50 * mib}}, now: 4, speed: 5, left: -1,
		},
		"without a total there is a rate alone": {
			samples: []sample{{0, 0, 0}, {5, 50 * mib, 0}}, now: 5, speed: 10, left: -1,
		},
		"another attempt begins anew": {
			samples: append(steady[:4:4], sample{8, 5 * mib, 100 * mib}), now: 8, speed: -1, left: -1,
		},
		"samples that come at once are one": {
			samples: []sample{{0, 0, 100 * mib}, {2, 20 * mib, 100 * mib}, {2.1, 40 * mib, 100 * mib}, {4, 40 * mib, 100 * mib}},
			now:     4, speed: 10, left: 6,
		},
		"a long silence says that it is stuck": {samples: steady, now: 40, speed: 0.606, left: -1},
		"all done leaves no time":              {samples: []sample{{0, 0, mib}, {8, mib, mib}}, now: 8, speed: 0.125, left: -1},
	} {
		t.Run(name, func(t *testing.T) {
			m := metered(test.started, test.samples...)
			speed, known := m.speed(at(test.now))
			if known != (test.speed >= 0) || known && math.Abs(speed/mib-test.speed) > 0.01 {
				t.Errorf("speed is %.3f MiB/s (%t), want %.3f", speed/mib, known, test.speed)
			}
			left, known := m.left(at(test.now))
			if known != (test.left >= 0) || known && math.Abs(left.Seconds()-test.left) > 0.1 {
				t.Errorf("time left is %s (%t), want %.1f s", left, known, test.left)
			}
		})
	}
}

func TestMeterSmooths(t *testing.T) {
	m := metered(time.Time{}, sample{0, 0, 1000 * mib}, sample{2, 20 * mib, 1000 * mib}, sample{4, 120 * mib, 1000 * mib})
	if speed, _ := m.speed(at(4)); speed < 15*mib || speed > 25*mib {
		t.Errorf("after 10 and then 50 MiB/s it says %.1f MiB/s, want a little more than 10", speed/mib)
	}
	for second := 6.0; second <= 60; second += 2 {
		volume := Volume{Done: 120*mib + int64((second-4)*5*mib), Total: 1000 * mib}
		m.observe(at(second), &volume)
	}
	if speed, _ := m.speed(at(60)); math.Abs(speed-5*mib) > mib/4 {
		t.Errorf("after a minute with 5 MiB/s it says %.1f", speed/mib)
	}
}
