// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package board

import (
	"math"
	"time"
)

const (
	// smoothing is the time over which the rate is smoothed: an older sample counts for less than 1/e of it.
	smoothing = 10 * time.Second
	// shortestSample is the least time between two samples. What comes sooner counts towards the next one.
	shortestSample = 500 * time.Millisecond
	// patience is for how long no new sample means nothing: the agent writes one every two seconds.
	patience = 6 * time.Second
	// stall is after how long without a byte somebody should be told.
	stall = 30 * time.Second
	// settling is for how long the total must have been the same before it is believed: restic counts while it
	// already reads.
	settling = 3 * time.Second
	// farthest is the longest time left that is worth a number.
	farthest = 99 * time.Hour
)

// meter tells from samples of a counter how fast it goes.
type meter struct {
	at    time.Time // of the last sample; zero before the first one
	bytes int64     // of the last sample
	rate  float64   // bytes a second
	known bool      // rate says something

	total int64
	since time.Time // since when the total is what it is
}

// observe takes what a running volume says, at the time when that arrived. The status's own times have whole seconds,
// which is too coarse for a rate between two samples, and good enough for the mean since the start.
func (m *meter) observe(now time.Time, volume *Volume) {
	if volume.Total != m.total {
		m.total, m.since = volume.Total, now
	}
	switch {
	case m.at.IsZero():
		m.begin(now, volume)
	case volume.Done < m.bytes: // another attempt, from the beginning
		m.at, m.bytes, m.rate, m.known = now, volume.Done, 0, false
	case volume.Done > m.bytes && now.Sub(m.at) >= shortestSample:
		m.sample(now, volume.Done)
	}
}

func (m *meter) begin(now time.Time, volume *Volume) {
	m.at, m.bytes = now, volume.Done
	ran := volume.Heartbeat.Sub(volume.Started)
	if volume.Started.IsZero() || ran < 2*time.Second || volume.Done == 0 {
		return
	}
	m.rate, m.known = float64(volume.Done)/ran.Seconds(), true
	if now.Sub(volume.Started) > settling {
		m.since = volume.Started // it has been running for long enough to have counted
	}
}

func (m *meter) sample(now time.Time, done int64) {
	took := now.Sub(m.at)
	latest := float64(done-m.bytes) / took.Seconds()
	if m.known {
		latest += (m.rate - latest) * math.Exp(-took.Seconds()/smoothing.Seconds())
	}
	m.at, m.bytes, m.rate, m.known = now, done, latest, true
}

// speed returns bytes a second; false while nothing can be said.
func (m *meter) speed(now time.Time) (float64, bool) {
	if !m.known {
		return 0, false
	}
	silent := now.Sub(m.at) - patience
	if silent <= 0 {
		return m.rate, true
	}
	return m.rate * math.Exp(-silent.Seconds()/smoothing.Seconds()), true
}

// stalled returns for how long nothing has moved; 0 while that is nothing to speak of.
func (m *meter) stalled(now time.Time) time.Duration {
	if m.at.IsZero() || now.Sub(m.at) < stall {
		return 0
	}
	return now.Sub(m.at)
}

// left returns the time that the rest will take; false where that would be a guess.
func (m *meter) left(now time.Time) (time.Duration, bool) {
	speed, known := m.speed(now)
	if !known || m.total <= m.bytes || now.Sub(m.since) < settling || m.stalled(now) > 0 {
		return 0, false
	}
	seconds := float64(m.total-m.bytes)/speed - now.Sub(m.at).Seconds()
	if math.IsNaN(seconds) || seconds > farthest.Seconds() {
		return 0, false
	}
	return max(time.Duration(seconds*float64(time.Second)), time.Second), true
}
