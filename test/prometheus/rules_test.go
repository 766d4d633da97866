// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package prometheus_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
	"github.com/velero-restic/velero-plugin-for-restic/test/prometheus"
)

// repository is the directory of go.mod.
const repository = "../.."

// ruleFile has the fields of a rule file that the tests need. Prometheus and its operator both read this format.
type ruleFile struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []struct {
			Alert       string            `json:"alert"`
			Expr        string            `json:"expr"`
			For         string            `json:"for"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"rules"`
	} `json:"groups"`
}

// alertTest is a test case of promtool.
type alertTest struct {
	Name           string `json:"alertname"`
	ExpectedAlerts []any  `json:"exp_alerts"`
}

type testFile struct {
	Tests []struct {
		AlertRuleTest []alertTest `json:"alert_rule_test"`
	} `json:"tests"`
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(repository, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func parse[T any](t *testing.T, path string) T {
	t.Helper()
	var parsed T
	if err := yaml.Unmarshal([]byte(read(t, path)), &parsed); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return parsed
}

// promtool runs promtool in the directory of the examples.
func promtool(t *testing.T, args ...string) string {
	t.Helper()
	cache, err := part.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	programs, err := prometheus.Find(t.Context(), cache, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), programs.Tool, args...)
	cmd.Dir = filepath.Join(repository, prometheus.Examples)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestAlertRules runs the cases of examples/prometheus/alerts.test.yaml, in which each rule fires and does not fire.
func TestAlertRules(t *testing.T) {
	promtool(t, "check", "rules", "--lint-fatal", "alerts.yaml", "velero-pvc-watcher.yaml")
	promtool(t, "test", "rules", "alerts.test.yaml")
}

// TestScrapeConfiguration validates the configuration, and its selection of the agents. test/e2e scrapes with it.
func TestScrapeConfiguration(t *testing.T) {
	content := read(t, prometheus.ScrapeFile)
	rules, err := filepath.Abs(filepath.Join(repository, prometheus.RulesFile))
	if err != nil {
		t.Fatal(err)
	}
	targets := filepath.Join(t.TempDir(), "targets.json")
	setting := prometheus.Setting{Targets: targets, Rules: []string{rules}, Interval: "1s"}
	config, err := prometheus.Configure(content, setting)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "prometheus.yml")
	for path, text := range map[string]string{file: config, targets: "[]"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	promtool(t, "check", "config", "--lint-fatal", file)

	agent := parse[appsv1.DaemonSet](t, "examples/base/agent/daemonset.yaml")
	jobs := parse[struct {
		ScrapeConfigs []struct {
			Discovery []struct {
				Role       string `json:"role"`
				Namespaces struct {
					Names []string `json:"names"`
				} `json:"namespaces"`
				Selectors []struct {
					Role  string `json:"role"`
					Label string `json:"label"`
				} `json:"selectors"`
			} `json:"kubernetes_sd_configs"`
		} `json:"scrape_configs"`
	}](t, prometheus.ScrapeFile)
	discovery := jobs.ScrapeConfigs[0].Discovery[0]
	chosen, err := labels.Parse(discovery.Selectors[0].Label)
	if err != nil {
		t.Fatal(err)
	}
	if discovery.Role != "pod" || discovery.Selectors[0].Role != "pod" ||
		!cmp.Equal(discovery.Namespaces.Names, []string{agent.Namespace}) ||
		!chosen.Matches(labels.Set(agent.Spec.Template.Labels)) {
		t.Errorf("the configuration does not select the pods of the agents: %+v", discovery)
	}
}

// TestEachRuleIsTested fails if a rule has no case in which it fires, or none in which it does not.
func TestEachRuleIsTested(t *testing.T) {
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range parse[testFile](t, prometheus.Examples+"/alerts.test.yaml").Tests {
		for _, c := range test.AlertRuleTest {
			if len(c.ExpectedAlerts) > 0 {
				fires[c.Name] = true
			} else {
				silent[c.Name] = true
			}
		}
	}
	for _, file := range []string{prometheus.RulesFile, prometheus.WatcherRulesFile} {
		for _, group := range parse[ruleFile](t, file).Groups {
			for _, rule := range group.Rules {
				if !fires[rule.Alert] || !silent[rule.Alert] {
					t.Errorf("%s: %s: a case in which it fires: %t, a case in which it does not: %t; want both", file, rule.Alert,
						fires[rule.Alert], silent[rule.Alert])
				}
			}
		}
	}
}

// heading matches a heading of docs/alerts.md. Its anchor is the heading in lower case, with - for each space.
var heading = regexp.MustCompile(`(?m)^#+ (.+)$`)

// TestEachAlertTellsWhatToDo fails if an alert has no severity, summary, description, or section in docs/alerts.md.
func TestEachAlertTellsWhatToDo(t *testing.T) {
	sections := map[string]bool{}
	for _, found := range heading.FindAllStringSubmatch(read(t, "docs/alerts.md"), -1) {
		sections[strings.ReplaceAll(strings.ToLower(found[1]), " ", "-")] = true
	}
	for _, file := range []string{prometheus.RulesFile, prometheus.WatcherRulesFile} {
		for _, group := range parse[ruleFile](t, file).Groups {
			for _, rule := range group.Rules {
				if !regexp.MustCompile("^(info|warning|critical)$").MatchString(rule.Labels["severity"]) {
					t.Errorf("%s has severity %q", rule.Alert, rule.Labels["severity"])
				}
				if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
					t.Errorf("%s has no summary or no description", rule.Alert)
				}
				page, anchor, found := strings.Cut(rule.Annotations["runbook_url"], "#")
				if !found || !strings.HasSuffix(page, "/docs/alerts.md") || !sections[anchor] {
					t.Errorf("%s: docs/alerts.md has no section for %q", rule.Alert, rule.Annotations["runbook_url"])
				}
			}
		}
	}
}

// TestOperatorHasTheSameRules fails if the rules have changed and `make generate` has not run.
func TestOperatorHasTheSameRules(t *testing.T) {
	want, err := prometheus.Operator(read(t, prometheus.RulesFile))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, read(t, prometheus.OperatorFile)); diff != "" {
		t.Errorf("%s is not generated from %s (-want +got):\n%s", prometheus.OperatorFile, prometheus.RulesFile, diff)
	}
	object := parse[struct {
		Spec ruleFile `json:"spec"`
	}](t, prometheus.OperatorFile)
	if diff := cmp.Diff(parse[ruleFile](t, prometheus.RulesFile), object.Spec); diff != "" {
		t.Errorf("the two files have different rules (-plain +operator):\n%s", diff)
	}
}
