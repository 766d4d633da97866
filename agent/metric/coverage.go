// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package metric

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
)

// Inventory is where the states of claims come from.
type Inventory interface {
	// States returns the state of each claim at that time.
	States(now time.Time) []coverage.State
	// Evaluations returns how often a claim was decided about.
	Evaluations() uint64
	// ReadError returns what currently cannot be read; nil if everything can.
	ReadError() error
}

// Coverage collects how claims are covered. Each scrape asks for the states and makes its own series of them, so that
// scrapes at the same time do not disturb each other, and no series outlives its claim. It may be used concurrently.
type Coverage struct {
	// Now tells the time.
	Now func() time.Time

	// term is the one in which this agent leads, nil while another one does.
	term atomic.Pointer[Term]
	series
}

// Term is one time for which this agent leads. One that ends slowly, after the next has begun, takes nothing from that.
type Term struct {
	of        *Coverage
	inventory atomic.Pointer[Inventory]
}

// series are the descriptions of what is collected.
type series struct {
	up, evaluations, claim, claims, success, bytes, duration, missing *prometheus.Desc
}

var _ prometheus.Collector = &Coverage{}

// NewCoverage returns a collector that has nothing until Show.
func NewCoverage(now func() time.Time) *Coverage {
	name := func(name string) string { return prometheus.BuildFQName(namespace, "", name) }
	of := []string{"namespace", "persistentvolumeclaim"}
	return &Coverage{Now: now, series: series{
		up: prometheus.NewDesc(name("coverage_up"),
			"1 if the leader knows the state of every claim, 0 while something cannot be read. Leader only.", nil, nil),
		evaluations: prometheus.NewDesc(name("coverage_evaluations_total"),
			"Evaluations of claims since this agent became the leader. Leader only.", nil, nil),
		claim: prometheus.NewDesc(name("claim_protected"),
			"1 if scheduled backups protect the data of the claim, else 0, with the method or the reason. Leader only.",
			append(of, "method", "reason"), nil),
		claims: prometheus.NewDesc(name("claims"),
			"Number of claims by protection, method and reason. Leader only.",
			[]string{"protected", "method", "reason"}, nil),
		success: prometheus.NewDesc(name("claim_last_success_timestamp_seconds"),
			"Time of the last successful restic backup of the claim, in seconds since 1970. Leader only.", of, nil),
		bytes: prometheus.NewDesc(name("claim_last_success_bytes"),
			"Size of the files in the last successful restic backup of the claim, in bytes. Leader only.", of, nil),
		duration: prometheus.NewDesc(name("claim_last_success_duration_seconds"),
			"Duration of the last successful restic backup of the claim. Leader only.", of, nil),
		missing: prometheus.NewDesc("backupmonitor_missing",
			"1 for each claim that is neither protected nor ignored, as velero-pvc-watcher reported it. Leader only.",
			[]string{"namespace", "pvc_name"}, nil),
	}}
}

// Lead begins a term, so that coverage_up is there, 0 until Show.
func (c *Coverage) Lead() *Term {
	term := &Term{of: c}
	c.term.Store(term)
	return term
}

// Show collects from an inventory that has synced.
func (t *Term) Show(inventory Inventory) { t.inventory.Store(&inventory) }

// Hide collects no states any more.
func (t *Term) Hide() { t.inventory.Store(nil) }

// End collects nothing any more: another agent leads, or this one in a term of its own.
func (t *Term) End() { t.of.term.CompareAndSwap(t, nil) }

// Describe sends what may be collected.
func (c *Coverage) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		c.up, c.evaluations, c.claim, c.claims, c.success, c.bytes, c.duration, c.missing,
	} {
		to <- desc
	}
}

// Collect sends the series of this moment.
func (c *Coverage) Collect(to chan<- prometheus.Metric) {
	term := c.term.Load()
	if term == nil {
		return
	}
	inventory := term.inventory.Load()
	if inventory == nil {
		to <- gauge(c.up, 0)
		return
	}
	to <- gauge(c.up, number((*inventory).ReadError() == nil))
	to <- prometheus.MustNewConstMetric(c.evaluations, prometheus.CounterValue, float64((*inventory).Evaluations()))
	totals := map[total]int{}
	for _, state := range (*inventory).States(c.Now()) {
		totals[total{state.Protected, state.Method, state.Reason}]++
		c.collect(to, state)
	}
	for t, count := range totals {
		to <- gauge(c.claims, float64(count), truth(t.protected), string(t.method), string(t.reason))
	}
}

// total is what claims are counted by.
type total struct {
	protected bool
	method    coverage.Method
	reason    coverage.Reason
}

func (c *Coverage) collect(to chan<- prometheus.Metric, s coverage.State) {
	to <- gauge(c.claim, number(s.Protected), s.Namespace, s.Claim, string(s.Method), string(s.Reason))
	if !s.Protected && !s.Ignored() {
		to <- gauge(c.missing, 1, s.Namespace, s.Claim)
	}
	if !s.LastSuccess.IsZero() {
		to <- gauge(c.success, float64(s.LastSuccess.Unix()), s.Namespace, s.Claim)
		to <- gauge(c.bytes, float64(s.Bytes), s.Namespace, s.Claim)
		to <- gauge(c.duration, s.Duration.Seconds(), s.Namespace, s.Claim)
	}
}

func gauge(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func truth(is bool) string {
	if is {
		return "true"
	}
	return "false"
}
