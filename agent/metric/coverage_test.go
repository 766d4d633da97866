// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package metric_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
)

// states is an inventory of states that do not change.
type states struct {
	all     []coverage.State
	trouble error
}

func (s *states) States(time.Time) []coverage.State { return s.all }
func (s *states) Evaluations() uint64               { return 7 }
func (s *states) ReadError() error                  { return s.trouble }

func newCoverage(t *testing.T) (*metric.Coverage, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	c := metric.NewCoverage(time.Now)
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	return c, registry
}

func TestCoverage(t *testing.T) {
	c, registry := newCoverage(t)
	c.Lead().Show(&states{all: []coverage.State{
		{
			Namespace: "foo", Claim: "a", Protected: true, Method: coverage.MethodRestic,
			LastSuccess: time.Unix(1000, 0), Bytes: 5, Duration: time.Minute,
		},
		{Namespace: "foo", Claim: "b", Method: coverage.MethodRestic, Reason: coverage.ReasonNeverSucceeded},
		{Namespace: "foo", Claim: "c", Reason: coverage.ReasonIgnored},
		{Namespace: "bar", Claim: "d", Reason: coverage.ReasonUnmounted},
		{Namespace: "bar", Claim: "e", Reason: coverage.ReasonUnmounted},
	}})
	want := map[string]string{
		"velero_restic_coverage_up":                "1",
		"velero_restic_coverage_evaluations_total": "7",

		"velero_restic_claim_protected method=restic namespace=foo persistentvolumeclaim=a reason=":               "1",
		"velero_restic_claim_protected method=restic namespace=foo persistentvolumeclaim=b reason=NeverSucceeded": "0",
		"velero_restic_claim_protected method= namespace=foo persistentvolumeclaim=c reason=Ignored":              "0",
		"velero_restic_claim_protected method= namespace=bar persistentvolumeclaim=d reason=Unmounted":            "0",
		"velero_restic_claim_protected method= namespace=bar persistentvolumeclaim=e reason=Unmounted":            "0",

		"velero_restic_claims method=restic protected=true reason=":                "1",
		"velero_restic_claims method=restic protected=false reason=NeverSucceeded": "1",
		"velero_restic_claims method= protected=false reason=Ignored":              "1",
		"velero_restic_claims method= protected=false reason=Unmounted":            "2",

		"velero_restic_claim_last_success_timestamp_seconds namespace=foo persistentvolumeclaim=a": "1000",
		"velero_restic_claim_last_success_bytes namespace=foo persistentvolumeclaim=a":             "5",
		"velero_restic_claim_last_success_duration_seconds namespace=foo persistentvolumeclaim=a":  "60",

		"backupmonitor_missing namespace=foo pvc_name=b": "1",
		"backupmonitor_missing namespace=bar pvc_name=d": "1",
		"backupmonitor_missing namespace=bar pvc_name=e": "1",
	}
	if diff := cmp.Diff(want, series(t, registry)); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestCoverageOnlyFromLeader(t *testing.T) {
	c, registry := newCoverage(t)
	var term, next *metric.Term
	steps := []struct {
		name string
		do   func()
		want map[string]string
	}{
		{"before it leads", func() {}, map[string]string{}},
		{"while it takes stock", func() { term = c.Lead() }, map[string]string{"velero_restic_coverage_up": "0"}},
		{"while something cannot be read", func() {
			term.Show(&states{trouble: errors.New("forbidden")})
		}, map[string]string{"velero_restic_coverage_up": "0", "velero_restic_coverage_evaluations_total": "7"}},
		{"while it takes stock again", func() { term.Hide() }, map[string]string{"velero_restic_coverage_up": "0"}},
		{"after it has led", func() { term.End() }, map[string]string{}},
		{"when it leads again", func() { next = c.Lead() }, map[string]string{"velero_restic_coverage_up": "0"}},
		{"and knows all", func() { next.Show(&states{}) }, map[string]string{
			"velero_restic_coverage_up": "1", "velero_restic_coverage_evaluations_total": "7",
		}},
		{"when what it led before ends late", func() { term.Hide(); term.End() }, map[string]string{
			"velero_restic_coverage_up": "1", "velero_restic_coverage_evaluations_total": "7",
		}},
	}
	for _, step := range steps {
		step.do()
		if diff := cmp.Diff(step.want, series(t, registry)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

// TestScrapesAtTheSameTime is for the race detector, and for scrapes that take series from each other.
func TestScrapesAtTheSameTime(t *testing.T) {
	c, registry := newCoverage(t)
	c.Lead().Show(&states{all: []coverage.State{{Namespace: "foo", Claim: "a", Reason: coverage.ReasonUnmounted}}})
	var scrapes sync.WaitGroup
	for range 8 {
		scrapes.Go(func() {
			for range 20 {
				families, err := registry.Gather()
				if err != nil || len(families) != 5 {
					t.Errorf("%d families, error %v", len(families), err)
				}
			}
		})
	}
	scrapes.Wait()
}
