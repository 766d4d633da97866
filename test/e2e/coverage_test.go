// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
	"github.com/velero-restic/velero-plugin-for-restic/test/prometheus"
)

// claimState is whether a claim is protected, and why not. Metrics, velero-restic and the plugin must agree about it.
type claimState struct {
	Protected bool
	Reason    coverage.Reason
}

// metricsLimit is how long a change may take to reach Prometheus.
const metricsLimit = 90 * time.Second

// TestCoverage compares the metrics of each claim in a real Prometheus, the output of velero-restic, and the decision
// of the plugin in a backup of a schedule.
func TestCoverage(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	f := newCoverageFixture(t)
	server := startPrometheus(t)
	before, after := expectedStates()
	wantStates(t, server, "before any backup", before)
	backups := f.backUpAll(t)
	t.Run("the plugin makes the same decisions", func(t *testing.T) { wantPluginDecisions(t, backups) })
	t.Run("a backup protects", func(t *testing.T) { wantStates(t, server, "after the backups", after) })
	t.Run("a protected claim has the time, size and duration of its backup", func(t *testing.T) { wantLastSuccess(t, server) })
	t.Run("the rules for users take effect", func(t *testing.T) { wantAlerts(t, server, after) })
	t.Run("the last backup has failed, or is too old", func(t *testing.T) {
		f.ageLastSuccess(t)
		f.failBackup(t)
		after["cover-stale/data"] = claimState{Reason: coverage.ReasonStale}
		after["cover-fail/data"] = claimState{Reason: coverage.ReasonLastFailed}
		wantStates(t, server, "in the end", after)
	})
}

// expectedStates returns the states of all claims before and after the backups.
func expectedStates() (before, after map[string]claimState) {
	before, after = map[string]claimState{}, map[string]claimState{}
	for _, want := range expectedClaims() {
		after[want.claim] = claimState{Protected: want.reason == "", Reason: want.reason}
		before[want.claim] = after[want.claim]
		if want.reason == "" {
			before[want.claim] = claimState{Reason: coverage.ReasonNeverSucceeded}
		}
	}
	return before, after
}

// startPrometheus starts a server that scrapes the agents with the configuration for users, and has both sets of alert
// rules.
func startPrometheus(t *testing.T) *prometheus.Server {
	t.Helper()
	cache, err := part.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	programs, err := prometheus.Find(t.Context(), cache, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	agents := list[corev1.PodList](t, inVelero(), agentLabels())
	content, err := prometheus.Targets(agents.Items)
	if err != nil {
		t.Fatal(err)
	}
	targets := filepath.Join(t.TempDir(), "targets.json")
	if err := os.WriteFile(targets, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	scrape, err := os.ReadFile(filepath.Join(suite.repository, prometheus.ScrapeFile))
	if err != nil {
		t.Fatal(err)
	}
	config, err := prometheus.Configure(string(scrape), prometheus.Setting{
		Targets: targets, Interval: "1s", Rules: []string{
			filepath.Join(suite.repository, prometheus.RulesFile), filepath.Join(suite.repository, prometheus.WatcherRulesFile),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	node := get[corev1.Node](t, "", clusterOf(t).node.NodeName())
	options := prometheus.ServerOptions{
		Namespace: filepath.Join(clusterOf(t).node.State(), "netns"), Address: node.Status.Addresses[0].Address + ":9090",
		Folder: t.TempDir(),
	}
	server, err := prometheus.Start(t.Context(), programs, options, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	return server
}

// wantStates waits until Prometheus has these states, for the test's claims and no others, and then wants the same from
// velero-restic.
func wantStates(t *testing.T, server *prometheus.Server, when string, want map[string]claimState) {
	t.Helper()
	eventually(t, metricsLimit, "the metrics "+when, func() error {
		got, err := statesFromMetrics(t, server)
		if err != nil {
			return err
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("(-want +got):\n%s", diff)
		}
		return nil
	})
	if diff := cmp.Diff(want, statesFromCLI(t)); diff != "" {
		t.Errorf("velero-restic coverage %s (-want +got):\n%s", when, diff)
	}
	missing := map[string]bool{}
	for _, sample := range query(t, server, `backupmonitor_missing{namespace=~"cover.*"}`) {
		missing[sample.Labels["namespace"]+"/"+sample.Labels["pvc_name"]] = sample.Value == 1
	}
	for claim, state := range want {
		if should := !state.Protected && state.Reason != coverage.ReasonIgnored; missing[claim] != should {
			t.Errorf("%s: backupmonitor_missing has %s: %t, want %t", when, claim, missing[claim], should)
		}
	}
}

func query(t *testing.T, server *prometheus.Server, expression string) []prometheus.Sample {
	t.Helper()
	samples, err := server.Query(t.Context(), expression)
	if err != nil {
		t.Fatal(err)
	}
	return samples
}

func statesFromMetrics(t *testing.T, server *prometheus.Server) (map[string]claimState, error) {
	t.Helper()
	samples, err := server.Query(t.Context(), `velero_restic_claim_protected{namespace=~"cover.*"}`)
	if err != nil {
		return nil, err
	}
	found := map[string]claimState{}
	for _, sample := range samples {
		claim := sample.Labels["namespace"] + "/" + sample.Labels["persistentvolumeclaim"]
		if _, twice := found[claim]; twice {
			return nil, fmt.Errorf("claim %s has two series", claim)
		}
		found[claim] = claimState{Protected: sample.Value == 1, Reason: coverage.Reason(sample.Labels["reason"])}
	}
	return found, nil
}

// statesFromCLI returns the states that velero-restic coverage prints for the test's namespaces.
func statesFromCLI(t *testing.T) map[string]claimState {
	t.Helper()
	arguments := append([]string{"coverage", "-o", "json"}, coverageNamespaces()...)
	result := runCLI(t, arguments...)
	if result.code != 0 {
		t.Fatalf("velero-restic %q ends with code %d: %s", arguments, result.code, result.err)
	}
	var report struct {
		Claims []struct {
			Namespace string          `json:"namespace"`
			Claim     string          `json:"claim"`
			Protected bool            `json:"protected"`
			Reason    coverage.Reason `json:"reason"`
		} `json:"claims"`
	}
	if err := json.Unmarshal([]byte(result.out), &report); err != nil {
		t.Fatalf("reading the output of velero-restic %q: %v", arguments, err)
	}
	found := map[string]claimState{}
	for _, state := range report.Claims {
		found[state.Namespace+"/"+state.Claim] = claimState{Protected: state.Protected, Reason: state.Reason}
	}
	return found
}

// backUpAll creates a backup from each schedule, and returns their names.
func (f coverageFixture) backUpAll(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, schedule := range coverageSchedules() {
		name := schedule + "-1"
		veleroCLI(t, "backup", "create", name, "--from-schedule", schedule)
		names = append(names, name)
		// Velero may look at a backup that waits for another one only after a minute.
		eventually(t, operationLimit, "backup "+name+" not in the way of the next", func() error {
			backup, err := tryGet[velerov1.Backup](t, velero.Namespace, name)
			if err != nil {
				return err
			}
			switch backup.Status.Phase {
			case "", velerov1.BackupPhaseNew, velerov1.BackupPhaseQueued, velerov1.BackupPhaseReadyToStart,
				velerov1.BackupPhaseInProgress:
				return fmt.Errorf("its phase is %q", backup.Status.Phase)
			default:
				return nil
			}
		})
	}
	for _, name := range names {
		backup := waitBackup(t, name, operationLimit)
		if backup.Status.Phase != velerov1.BackupPhaseCompleted {
			t.Errorf("backup %s is %s, want Completed:\n%s", name, backup.Status.Phase,
				strings.Join(warningsAndErrors(t, "backup", name), "\n"))
		}
	}
	return names
}

// wantPluginDecisions compares the PodVolumeBackups that the plugin created with what is expected of each claim.
func wantPluginDecisions(t *testing.T, backups []string) {
	t.Helper()
	created := map[string]resticv1.PodVolumeBackup{}
	described := ""
	for _, backup := range backups {
		for _, volume := range podVolumeBackups(t, backup) {
			created[volume.Spec.Pod.Namespace+"/"+volume.Annotations[contract.AnnotationPVCName]] = volume
		}
		described += veleroCLI(t, "backup", "describe", backup, "--details")
	}
	for _, want := range expectedClaims() {
		volume, exists := created[want.claim]
		delete(created, want.claim)
		switch {
		case want.reason == "":
			if volume.Status.Phase != resticv1.PhaseCompleted {
				t.Errorf("claim %s: the plugin's PodVolumeBackup is %q (%s), want Completed", want.claim,
					volume.Status.Phase, volume.Status.Message)
			}
		case want.skipped:
			if volume.Spec.Skip == nil || volume.Spec.Skip.Reason != string(want.reason) {
				t.Errorf("claim %s: the plugin skips it with %+v, want reason %s", want.claim, volume.Spec.Skip, want.reason)
			} else if !strings.Contains(described, volume.Spec.Skip.Message) {
				t.Errorf("claim %s: velero backup describe does not contain %q", want.claim, volume.Spec.Skip.Message)
			}
		case exists:
			t.Errorf("claim %s: the plugin created a PodVolumeBackup, %q %+v, want none", want.claim, volume.Status.Phase,
				volume.Spec.Skip)
		}
	}
	if len(created) > 0 {
		t.Errorf("the plugin created PodVolumeBackups of unexpected claims: %v", slices.Sorted(maps.Keys(created)))
	}
}

// wantLastSuccess compares the metrics of a protected claim with its PodVolumeBackup.
func wantLastSuccess(t *testing.T, server *prometheus.Server) {
	t.Helper()
	volume := podVolumeBackups(t, "cover-nightly-1")["app/data"]
	for metric, want := range map[string]float64{
		"velero_restic_claim_last_success_timestamp_seconds": float64(volume.Status.CompletionTimestamp.Unix()),
		"velero_restic_claim_last_success_bytes":             100000,
	} {
		got := query(t, server, metric+`{namespace="cover", persistentvolumeclaim="data"}`)
		if len(got) != 1 || got[0].Value != want {
			t.Errorf("%s is %v, want %v", metric, got, want)
		}
	}
	const metric = "velero_restic_claim_last_success_duration_seconds"
	got := query(t, server, metric+`{namespace="cover", persistentvolumeclaim="data"}`)
	if len(got) != 1 || got[0].Value < 0 || got[0].Value > operationLimit.Seconds() {
		t.Errorf("%s is %v, want one value of up to %s", metric, got, operationLimit)
	}
	if got := query(t, server, metric+`{namespace="cover", persistentvolumeclaim="left"}`); len(got) > 0 {
		t.Errorf("%s of a claim without any backup is %v, want none", metric, got)
	}
	total := query(t, server, `sum(velero_restic_claims{protected="true", method="restic"}) - `+
		`count(velero_restic_claim_protected{method="restic"} == 1)`)
	if len(total) != 1 || total[0].Value != 0 {
		t.Errorf("velero_restic_claims differs from the number of protected claims: %v", total)
	}
}

// wantAlerts waits until the rules for users have raised the right alerts, which are still pending.
func wantAlerts(t *testing.T, server *prometheus.Server, want map[string]claimState) {
	t.Helper()
	eventually(t, metricsLimit, "alerts", func() error {
		alerts, err := server.Alerts(t.Context())
		if err != nil {
			return err
		}
		descriptions := map[string]string{}
		for _, alert := range alerts {
			for name, label := range map[string]string{
				"VeleroResticClaimUnprotected": "persistentvolumeclaim", "MissingBackup": "pvc_name",
			} {
				claim := alert.Labels["namespace"] + "/" + alert.Labels[label]
				if _, expected := want[claim]; expected && alert.Labels["alertname"] == name {
					descriptions[name+" "+claim] = alert.Annotations["description"]
				}
			}
		}
		return compareAlerts(want, descriptions)
	})
}

func compareAlerts(want map[string]claimState, descriptions map[string]string) error {
	for claim, state := range want {
		missing := !state.Protected && state.Reason != coverage.ReasonIgnored
		for _, name := range []string{"VeleroResticClaimUnprotected", "MissingBackup"} {
			text, alerted := descriptions[name+" "+claim]
			if alerted != missing {
				return fmt.Errorf("%s for %s: %t, want %t", name, claim, alerted, missing)
			}
			if missing && name != "MissingBackup" && !strings.Contains(text, string(state.Reason)) {
				return fmt.Errorf("%s for %s is %q, want reason %s", name, claim, text, state.Reason)
			}
		}
	}
	return nil
}

// ageLastSuccess makes the last success five hours old, so that an hourly schedule has missed five backups. Velero
// counts from the schedule's last backup, and creates none.
func (f coverageFixture) ageLastSuccess(t *testing.T) {
	t.Helper()
	volume := podVolumeBackups(t, "cover-stale-1")["web/data"]
	old := func(at time.Time) string { return at.Add(-5 * time.Hour).UTC().Format(time.RFC3339) }
	kubectl(t, "-n", velero.Namespace, "patch", "podvolumebackups.restic.velero.io", volume.Name, "--subresource=status",
		"--type=merge", "-p", fmt.Sprintf(`{"status":{"startTimestamp":%q,"completionTimestamp":%q}}`,
			old(volume.Status.StartTimestamp.Time), old(volume.Status.CompletionTimestamp.Time)))
}

// failBackup moves the repository's keys away until the test ends, so that a backup cannot open it.
func (f coverageFixture) failBackup(t *testing.T) {
	t.Helper()
	keys := filepath.Join(repositoryFiles(t, "cover-fail"), "keys")
	aside := filepath.Join(clusterOf(t).node.State(), "cover-fail-keys")
	if err := os.Rename(keys, aside); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Rename(aside, keys); err != nil {
			t.Error("cleaning up:", err)
		}
	})
	veleroCLI(t, "backup", "create", "cover-fail-2", "--from-schedule", "cover-fail")
	wantPhase(t, waitBackup(t, "cover-fail-2", operationLimit), velerov1.BackupPhasePartiallyFailed)
}

// TestCoverageReasonsExist wants each expected reason to be one that claims can have.
func TestCoverageReasonsExist(t *testing.T) {
	for _, want := range expectedClaims() {
		if want.reason != "" && !slices.Contains(coverage.Reasons(), want.reason) {
			t.Errorf("%s: %s is no reason of package coverage", want.claim, want.reason)
		}
	}
}
