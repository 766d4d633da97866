// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package controller

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/volumerule"
)

func rulesOf(name, content string) *corev1.ConfigMap {
	configMap := &corev1.ConfigMap{ObjectMeta: objectMeta(velero, name), Data: map[string]string{"rules.yaml": content}}
	configMap.Labels = volumerule.Labels()
	return configMap
}

func TestRuleWatch(t *testing.T) {
	const good = "rules: [{name: all, action: include}]"
	w := newWorld(t)
	watch := &RuleWatch{Reader: w.client, Recorder: w.recorder, Metrics: w.metrics, Namespace: velero}
	look := func(sentence, value string, says ...string) {
		t.Helper()
		if err := watch.cycle(t.Context()); err != nil {
			t.Fatal(err)
		}
		events := w.events()
		if len(events) != len(says) {
			t.Errorf("%s: Events are %q, want %q", sentence, events, says)
		}
		for _, part := range says {
			if !strings.Contains(strings.Join(events, "\n"), part) {
				t.Errorf("%s: Events are %q, want one that says %q", sentence, events, part)
			}
		}
		if got := w.gauge("velero_restic_rules_valid"); got != value {
			t.Errorf("%s: the gauge is %q, want %q", sentence, got, value)
		}
	}
	change := func(content string) {
		t.Helper()
		configMap := get(w, "rules", &corev1.ConfigMap{})
		configMap.Data["rules.yaml"] = content
		if err := w.client.Update(t.Context(), configMap); err != nil {
			t.Fatal(err)
		}
	}
	look("no rules are valid", "1")
	if err := w.client.Create(t.Context(), rulesOf("rules", "rules: [{name: all, action: take}]")); err != nil {
		t.Fatal(err)
	}
	look("broken ones are told of", "0", "Warning BadConfiguration Nothing is selected by rules, and backups are PartiallyFailed: "+
		"reading the rules in ConfigMap velero/rules: rules.yaml: rules[0] (all): action: ")
	look("once", "0")
	change("rules: []")
	look("and again when they have changed and are still broken", "0", "rules is empty")
	change(good)
	look("mended", "1")
	if err := w.client.Create(t.Context(), rulesOf("another", good)); err != nil {
		t.Fatal(err)
	}
	look("a second ConfigMap pushes the first out", "1", "It is not used, since ConfigMap another comes first by name")
	w.metrics.LeaderGone()
	if got := w.gauge("velero_restic_rules_valid"); got != "" {
		t.Errorf("when another agent leads the gauge is %q", got)
	}
}
