// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package metric_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// counted returns the values but for counters that have counted nothing.
func counted(t *testing.T, registry *prometheus.Registry) map[string]string {
	t.Helper()
	found := series(t, registry)
	maps.DeleteFunc(found, func(name, value string) bool {
		return value == "0" && strings.Contains(name, "_total")
	})
	return found
}

// series returns the values by name and labels; of a histogram its count and sum.
func series(t *testing.T, registry *prometheus.Registry) map[string]string {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += " " + label.GetName() + "=" + label.GetValue()
			}
			switch {
			case m.GetCounter() != nil:
				found[name] = fmt.Sprint(m.GetCounter().GetValue())
			case m.GetGauge() != nil:
				found[name] = fmt.Sprint(m.GetGauge().GetValue())
			default:
				found[name] = fmt.Sprint(m.GetHistogram().GetSampleCount(), " ", m.GetHistogram().GetSampleSum())
			}
		}
	}
	return found
}

func newSet(t *testing.T) (*metric.Set, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	set, err := metric.New(registry)
	if err != nil {
		t.Fatal(err)
	}
	return set, registry
}

func TestFinished(t *testing.T) {
	set, registry := newSet(t)
	created := metav1.Now()
	ended := metav1.NewTime(created.Add(90 * time.Second))
	for _, phase := range []resticv1.VolumePhase{
		resticv1.PhaseCompleted, resticv1.PhaseCompleted, resticv1.PhaseFailed, resticv1.PhaseSkipped,
	} {
		backup := &resticv1.PodVolumeBackup{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: created}}
		backup.Status.VolumeStatus = resticv1.VolumeStatus{
			Phase: phase, CompletionTimestamp: &ended, WarningCount: 2, Progress: resticv1.VolumeProgress{BytesDone: 100},
		}
		set.Finished(metric.Backup, backup)
	}
	set.Finished(metric.Restore, &resticv1.PodVolumeRestore{
		Status: resticv1.PodVolumeRestoreStatus{VolumeStatus: resticv1.VolumeStatus{Phase: resticv1.PhaseCanceled}},
	})
	set.Forgotten(3)
	set.Swept(2)
	want := map[string]string{
		"velero_restic_pod_volume_operations_total operation=backup phase=Completed": "2",
		"velero_restic_pod_volume_operations_total operation=backup phase=Failed":    "1",
		"velero_restic_pod_volume_operations_total operation=backup phase=Skipped":   "1",
		"velero_restic_pod_volume_operations_total operation=restore phase=Canceled": "1",
		"velero_restic_pod_volume_warnings_total operation=backup":                   "4",
		"velero_restic_pod_volume_bytes_total operation=backup":                      "200",
		"velero_restic_pod_volume_operation_seconds operation=backup":                "3 270",
		"velero_restic_snapshots_forgotten_total":                                    "3",
		"velero_restic_orphans_swept_total":                                          "2",
	}
	if diff := cmp.Diff(want, counted(t, registry)); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func TestRepositoryReady(t *testing.T) {
	set, registry := newSet(t)
	repository := func(name string, phase resticv1.RepositoryPhase) *resticv1.ResticRepository {
		return &resticv1.ResticRepository{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       resticv1.ResticRepositorySpec{VolumeNamespace: "ns-" + name, BackupStorageLocation: "default"},
			Status:     resticv1.ResticRepositoryStatus{Phase: phase},
		}
	}
	set.RepositoryReady(repository("a", resticv1.RepositoryNotReady))
	set.RepositoryReady(repository("a", resticv1.RepositoryReady))
	set.RepositoryReady(repository("b", resticv1.RepositoryNotReady))
	set.RepositoryReady(repository("gone", resticv1.RepositoryReady))
	set.Orphans(repository("a", ""), 7)
	set.Orphans(repository("gone", ""), 7)
	set.OrphansGone("gone")
	set.RepositoryGone("gone")
	set.RepositoryGone("never")
	got := counted(t, registry)
	want := map[string]string{
		"velero_restic_repository_ready repository=a storage_location=default volume_namespace=ns-a": "1",
		"velero_restic_repository_ready repository=b storage_location=default volume_namespace=ns-b": "0",

		"velero_restic_repository_orphans repository=a storage_location=default volume_namespace=ns-a": "7",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

// TestFirstFailureIsAnIncrease needs the value before it, which Prometheus compares with.
func TestFirstFailureIsAnIncrease(t *testing.T) {
	_, registry := newSet(t)
	got := series(t, registry)
	for _, name := range []string{
		"velero_restic_pod_volume_operations_total operation=backup phase=Failed",
		"velero_restic_pod_volume_operations_total operation=restore phase=Failed",
		"velero_restic_pod_volume_warnings_total operation=backup",
		"velero_restic_maintenance_total operation=check result=failed",
		"velero_restic_maintenance_total operation=prune result=failed",
	} {
		if value, there := got[name]; !there || value != "0" {
			t.Errorf("before anything happened, %s is %q, want 0", name, value)
		}
	}
}

func TestNamesAreTakenOnce(t *testing.T) {
	_, registry := newSet(t)
	if _, err := metric.New(registry); err == nil {
		t.Error("a second set was registered under the same names")
	}
}

func TestRegisterBuild(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	if err := metric.RegisterBuild(registry, "v1.2.3", "0.19.1"); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"velero_restic_build_info restic=0.19.1 version=v1.2.3": "1"}
	if diff := cmp.Diff(want, series(t, registry)); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	if err := metric.RegisterBuild(registry, "v1.2.4", "0.19.1"); err == nil {
		t.Error("another build was registered under the same name")
	}
}
