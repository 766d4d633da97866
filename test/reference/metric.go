// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package reference

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Registry records what is registered. Its zero value is ready for use.
type Registry struct {
	collectors []prometheus.Collector
}

var _ prometheus.Registerer = &Registry{}

// Register records a collector.
func (r *Registry) Register(collector prometheus.Collector) error {
	r.collectors = append(r.collectors, collector)
	return nil
}

// MustRegister records collectors.
func (r *Registry) MustRegister(collectors ...prometheus.Collector) {
	r.collectors = append(r.collectors, collectors...)
}

// Unregister does nothing.
func (*Registry) Unregister(prometheus.Collector) bool { return false }

// Metrics returns the page about the recorded metrics.
func (r *Registry) Metrics() (string, error) {
	var rows [][]string
	for _, collector := range r.collectors {
		found := make(chan *prometheus.Desc)
		go func() {
			collector.Describe(found)
			close(found)
		}()
		for desc := range found {
			d, err := parse(desc)
			if err != nil {
				return "", err
			}
			rows = append(rows, []string{d.name, kind(collector, d.name), codes(d.labels), sentence(d.help)})
		}
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	for _, row := range rows {
		row[0] = code(row[0])
	}
	return header("Metrics", "the Help texts in agent/metric",
		"Each agent serves them on port 8085 as `/metrics`; its pod has the usual annotations `prometheus.io/…`. "+
			"\"Leader only\" marks metrics of the whole cluster, which the leading agent serves. What to make of "+
			"them: "+
			"[alerts](../alerts.md), [coverage](../coverage.md). Port 8086 serves `/healthz` and `/readyz`.") +
		table([]string{"metric", "type", "labels", "meaning"}, rows), nil
}

// description is what a prometheus.Desc knows. It exports nothing but String.
type description struct {
	name, help string
	labels     []string
}

var described = regexp.MustCompile(`^Desc\{fqName: ("(?:[^"\\]|\\.)*"), help: ("(?:[^"\\]|\\.)*"), ` +
	`constLabels: \{\}, variableLabels: \{([^}]*)\}\}$`)

func parse(desc *prometheus.Desc) (description, error) {
	found := described.FindStringSubmatch(desc.String())
	if found == nil {
		return description{}, fmt.Errorf("reading a metric's description: unexpected format: %s", desc)
	}
	var d description
	var err error
	if d.name, err = strconv.Unquote(found[1]); err != nil {
		return d, fmt.Errorf("reading a metric's name: %w", err)
	}
	if d.help, err = strconv.Unquote(found[2]); err != nil {
		return d, fmt.Errorf("reading a metric's help: %w", err)
	}
	if found[3] != "" {
		d.labels = strings.Split(found[3], ",")
	}
	return d, nil
}

// kind returns the type of a metric. A collector of our own creates its metrics when it collects: there the name
// decides, by Prometheus' rule that the names of counters, and only these, end in _total.
func kind(collector prometheus.Collector, name string) string {
	switch collector.(type) {
	case *prometheus.HistogramVec, prometheus.Histogram:
		return "histogram"
	case *prometheus.GaugeVec, prometheus.Gauge: // before Counter, whose methods a Gauge has, too
		return "gauge"
	case *prometheus.CounterVec, prometheus.Counter:
		return "counter"
	}
	if strings.HasSuffix(name, "_total") {
		return "counter"
	}
	return "gauge"
}

func codes(names []string) string {
	var marked []string
	for _, name := range names {
		marked = append(marked, code(name))
	}
	return strings.Join(marked, ", ")
}
