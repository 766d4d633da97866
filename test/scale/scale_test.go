// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package scale

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
	"github.com/velero-restic/velero-plugin-for-restic/internal/inventory"
)

// startStock takes stock of the cluster until the test ends.
func startStock(t *testing.T) *inventory.Inventory {
	t.Helper()
	stock, err := inventory.New(shared.config, inventory.Options{
		Namespace: veleroNamespace, ClaimsOnly: true, Log: ctrl.Log,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- stock.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the inventory ended with %v", err)
		}
	})
	limited, done := context.WithTimeout(t.Context(), 5*time.Minute)
	defer done()
	if err := stock.WaitForSync(limited); err != nil {
		t.Fatal(err)
	}
	return stock
}

// startMetrics serves the metrics of an inventory as the agent does, and returns their handler.
func startMetrics(t *testing.T, stock *inventory.Inventory) http.Handler {
	t.Helper()
	covered := metric.NewCoverage(time.Now)
	covered.Lead().Show(stock)
	registry := prometheus.NewRegistry()
	registry.MustRegister(covered)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError})
}

// scrape returns what a scrape gives, and how long it took.
func scrape(t *testing.T, handler http.Handler) (string, time.Duration) {
	t.Helper()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	answer := httptest.NewRecorder()
	begin := time.Now()
	handler.ServeHTTP(answer, request)
	took := time.Since(begin)
	if answer.Code != http.StatusOK {
		t.Fatalf("the scrape ended with %d: %s", answer.Code, answer.Body)
	}
	return answer.Body.String(), took
}

// count returns how many series there are of a metric.
func count(page, metric string) int {
	n := 0
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, metric+"{") {
			n++
		}
	}
	return n
}

// quickest returns the quickest of five scrapes, since other processes are at work on the machine.
func quickest(t *testing.T, handler http.Handler) time.Duration {
	t.Helper()
	best := time.Hour
	for range 5 {
		_, took := scrape(t, handler)
		best = min(best, took)
	}
	return best
}

// scrapeLimit is what a scrape may take: Prometheus gives up after ten times as long unless it is told otherwise.
const scrapeLimit = time.Second

func TestScrape(t *testing.T) {
	handler := startMetrics(t, startStock(t))
	page, _ := scrape(t, handler)
	protected, withHistory, ignored := 0, 0, 0
	totals := map[string]int{}
	for slot := range slots {
		k := kindOf(slot)
		totals[total(k)] += namespaces
		if k.reason == "" {
			protected += namespaces
		}
		if k.reason == coverage.ReasonIgnored {
			ignored += namespaces
		}
		if len(k.history) > 0 {
			withHistory += namespaces
		}
	}
	got := map[string]int{}
	for metric, want := range map[string]int{
		"velero_restic_claim_protected":                      claims,
		"velero_restic_claims":                               len(totals),
		"velero_restic_claim_last_success_timestamp_seconds": withHistory,
		"velero_restic_claim_last_success_bytes":             withHistory,
		"velero_restic_claim_last_success_duration_seconds":  withHistory,
		"backupmonitor_missing":                              claims - protected - ignored,
	} {
		if got := count(page, metric); got != want {
			t.Errorf("there are %d series of %s, want %d", got, metric, want)
		}
	}
	for line := range strings.Lines(page) {
		var n int
		name, value, _ := strings.Cut(line, "} ")
		if labels, isTotal := strings.CutPrefix(name, "velero_restic_claims{"); isTotal {
			if _, err := fmt.Sscan(value, &n); err != nil {
				t.Fatal(err)
			}
			got[labels] = n
		}
	}
	if diff := cmp.Diff(totals, got); diff != "" {
		t.Errorf("the totals are not as wanted (-want +got):\n%s", diff)
	}
	took := quickest(t, handler)
	t.Logf("a scrape of %d KiB takes %v", len(page)>>10, took.Round(time.Millisecond))
	if took > scrapeLimit {
		t.Errorf("a scrape takes %v", took)
	}
}

// total is how the total of claims of a kind is labeled.
func total(k kind) string {
	return fmt.Sprintf("method=%q,protected=%q,reason=%q", k.method, fmt.Sprint(k.reason == ""), k.reason)
}

// TestEachState compares the state of each claim with what its kind makes of it.
func TestEachState(t *testing.T) {
	stock := startStock(t)
	states := stock.States(time.Now())
	if len(states) != claims {
		t.Fatalf("there are %d states, want %d", len(states), claims)
	}
	if !slices.IsSortedFunc(states, func(a, b coverage.State) int {
		return strings.Compare(a.Namespace+"/"+a.Claim, b.Namespace+"/"+b.Claim)
	}) {
		t.Error("the states are not sorted")
	}
	var slot int
	for _, state := range states {
		if _, err := fmt.Sscanf(state.Claim, "data-app-%d", &slot); err != nil {
			t.Fatal(err)
		}
		k := kindOf(slot)
		if state.Protected != (k.reason == "") || state.Method != k.method || state.Reason != k.reason {
			t.Fatalf("%s/%s is %+v, want method %q and reason %q", state.Namespace, state.Claim, state, k.method, k.reason)
		}
	}
}
