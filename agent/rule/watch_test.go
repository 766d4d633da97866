// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package rule

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/agenttest"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

func rulesOf(name, content string) *corev1.ConfigMap {
	configMap := &corev1.ConfigMap{ObjectMeta: agenttest.Meta(agenttest.Velero, name), Data: map[string]string{"rules.yaml": content}}
	configMap.Labels = agenttest.RulesLabels()
	return configMap
}

func TestWatch(t *testing.T) {
	const good = "rules: [{name: all, action: include}]"
	w := agenttest.New(t)
	watch := &Watch{Reader: w.Client, Recorder: w.Recorder, Metrics: w.Metrics, Namespace: agenttest.Velero}
	look := func(sentence, value string, says ...string) {
		t.Helper()
		if err := watch.check(t.Context()); err != nil {
			t.Fatal(err)
		}
		events := w.Events()
		if len(events) != len(says) {
			t.Errorf("%s: Events are %q, want %q", sentence, events, says)
		}
		for _, part := range says {
			if !strings.Contains(strings.Join(events, "\n"), part) {
				t.Errorf("%s: Events are %q, want one that says %q", sentence, events, part)
			}
		}
		if got := w.Gauge("velero_restic_rules_valid"); got != value {
			t.Errorf("%s: the gauge is %q, want %q", sentence, got, value)
		}
	}
	change := func(content string) {
		t.Helper()
		configMap := agenttest.Get(w, "rules", &corev1.ConfigMap{})
		configMap.Data["rules.yaml"] = content
		if err := w.Client.Update(t.Context(), configMap); err != nil {
			t.Fatal(err)
		}
	}
	look("no rules are valid", "1")
	if err := w.Client.Create(t.Context(), rulesOf("rules", "rules: [{name: all, action: take}]")); err != nil {
		t.Fatal(err)
	}
	look("broken ones are told of", "0", "Warning BadConfiguration Nothing is selected by rules, and backups are PartiallyFailed: "+
		"reading the rules in ConfigMap velero/rules: rules.yaml: rules[0] (all): action: ")
	look("once", "0")
	change("rules: []")
	look("and again when they have changed and are still broken", "0", "rules is empty")
	change(good)
	look("mended", "1")
	if err := w.Client.Create(t.Context(), rulesOf("another", good)); err != nil {
		t.Fatal(err)
	}
	look("a second ConfigMap pushes the first out", "1", "It is not used, since ConfigMap another comes first by name")
	marked := rulesOf("a-third", "rules: []")
	marked.Labels[contract.LabelPluginConfig] = "true"
	if err := w.Client.Create(t.Context(), marked); err != nil {
		t.Fatal(err)
	}
	look("one whose first label has a value counts", "0", "velero/a-third: rules.yaml: rules is empty",
		"ConfigMap a-third comes first by name: delete one of them", "ConfigMap a-third comes first by name")
	w.Metrics.LeaderGone()
	if got := w.Gauge("velero_restic_rules_valid"); got != "" {
		t.Errorf("when another agent leads the gauge is %q", got)
	}
}

// TestWatchReportsUnreadConfigMaps: with labels that are nearly right there are no rules, and no backup can say so.
func TestWatchReportsUnreadConfigMaps(t *testing.T) {
	const good = "rules: [{name: all, action: include}]"
	const marker, plugin = contract.LabelPluginConfig, contract.LabelPluginName
	for sentence, test := range map[string]struct {
		labels map[string]string
		key    string
		says   []string // in one Event, none without
	}{
		"rules":                         {labels: agenttest.RulesLabels(), key: "rules.yaml"},
		"rules with a value":            {labels: map[string]string{marker: "true", plugin: "BackupItemAction"}, key: "rules.yaml"},
		"the original's rules":          {labels: agenttest.RulesLabels(), key: "config.yml"},
		"the restore helper's settings": {labels: map[string]string{marker: "", plugin: "RestoreItemAction"}, key: "image"},
		"another plugin's":              {labels: map[string]string{marker: "", "velero.io/change-storage-class": "RestoreItemAction"}, key: "fast"},
		"somebody else's":               {key: "config.yml"},
		"rules without labels": {
			key: "rules.yaml", says: []string{marker, plugin + "=BackupItemAction", "kubectl -n velero label configmap nearly"},
		},
		"rules without the first label":  {labels: map[string]string{plugin: "BackupItemAction"}, key: "rules.yaml", says: []string{marker}},
		"rules without the second label": {labels: map[string]string{marker: ""}, key: "rules.yaml", says: []string{plugin + "=BackupItemAction"}},
		"rules of the other kind": {
			labels: map[string]string{marker: "", plugin: "RestoreItemAction"}, key: "rules.yaml",
			says: []string{plugin + "=BackupItemAction"},
		},
		"a kind that is none": {
			labels: map[string]string{marker: "", plugin: "BackupItemActions"}, key: "config.yml",
			says: []string{plugin, `"BackupItemActions"`, "BackupItemAction for rules", "RestoreItemAction for"},
		},
		"settings without the first label": {
			labels: map[string]string{plugin: "RestoreItemAction"}, key: "image",
			says: []string{"lacks the label " + marker, plugin + "=RestoreItemAction"},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := agenttest.New(t)
			watch := &Watch{Reader: w.Client, Recorder: w.Recorder, Metrics: w.Metrics, Namespace: agenttest.Velero}
			configMap := rulesOf("nearly", "")
			configMap.Labels, configMap.Data = test.labels, map[string]string{test.key: good}
			other := configMap.DeepCopy()
			other.Namespace = agenttest.Shop
			w.Create(configMap)
			w.Create(other)
			look := func() []string {
				t.Helper()
				if err := watch.checkUnread(t.Context()); err != nil {
					t.Fatal(err)
				}
				return w.Events()
			}
			events := look()
			if (len(events) == 1) != (test.says != nil) || len(events) > 1 {
				t.Fatalf("Events are %q", events)
			}
			for _, part := range append(test.says, "Warning BadConfiguration Nobody reads") {
				if test.says != nil && !strings.Contains(events[0], part) {
					t.Errorf("the Event %q does not say %q", events[0], part)
				}
			}
			if again := look(); len(again) != 0 {
				t.Errorf("it is told again: %q", again)
			}
		})
	}
}

// pages answers a list in pages of one, and fails at the page of a number that is not 0, once.
type pages struct {
	client.Reader

	fails *int
}

func (p pages) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	asked := &client.ListOptions{}
	for _, option := range options {
		option.ApplyToList(asked)
	}
	var all corev1.ConfigMapList
	if err := p.Reader.List(ctx, &all, client.InNamespace(asked.Namespace)); err != nil {
		return err
	}
	at := 0
	if asked.Continue != "" {
		if _, err := fmt.Sscan(asked.Continue, &at); err != nil {
			return err
		}
	}
	if p.fails != nil && at > 0 && at == *p.fails {
		*p.fails = 0
		return errors.New("the server is busy")
	}
	page, ok := list.(*corev1.ConfigMapList)
	if !ok || asked.Limit == 0 {
		return fmt.Errorf("listing %T with limit %d", list, asked.Limit)
	}
	page.Items = all.Items[at : at+1]
	if at+1 < len(all.Items) {
		page.Continue = fmt.Sprint(at + 1)
	}
	return nil
}

// TestWatchReadsAllPages sees that none is left out, and that they come in pages.
func TestWatchReadsAllPages(t *testing.T) {
	w := agenttest.New(t)
	for _, name := range []string{"a", "b", "c"} {
		configMap := rulesOf(name, "rules: []")
		configMap.Labels = nil
		w.Create(configMap)
	}
	fails := 2
	watch := &Watch{Reader: pages{w.Client, &fails}, Recorder: w.Recorder, Metrics: w.Metrics, Namespace: agenttest.Velero}
	if err := watch.checkUnread(t.Context()); err == nil {
		t.Fatal("a page is missing, and nothing is said")
	}
	if events := w.Events(); len(events) != 2 {
		t.Errorf("Events of the first pages are %q", events)
	}
	if err := watch.checkUnread(t.Context()); err != nil {
		t.Fatal(err)
	}
	if events := w.Events(); len(events) != 1 {
		t.Errorf("Events of the last page are %q", events)
	}
}
