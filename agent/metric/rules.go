// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package metric

import "github.com/prometheus/client_golang/prometheus"

// newRulesValid returns a gauge that has a value only while somebody knows it, hence a vector without labels.
func newRulesValid() *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "rules_valid",
		Help: "1 if the rules that select volumes can be read, or there are none, else 0. Leader only.",
	}, nil)
}

// RulesValid tells whether the rules that select volumes can be read. No rules are valid.
func (s *Set) RulesValid(valid bool) {
	value := 0.0
	if valid {
		value = 1
	}
	s.rulesValid.WithLabelValues().Set(value)
}

// RulesUnknown says that nobody could look at the rules, or is to look any more.
func (s *Set) RulesUnknown() { s.rulesValid.Reset() }
