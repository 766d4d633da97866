// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package metric

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

func (s *Set) addMaintenance() {
	repository := []string{"repository", "volume_namespace", "storage_location"}
	s.maintained = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "maintenance_total",
		Help: "Finished checks, prunes, unlocks and lists, by result (succeeded, failed, locked). Leader only.",
	}, []string{"operation", "result"})
	s.maintainSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Name: "maintenance_seconds",
		Help:    "Duration of checks, prunes, unlocks and lists, including the wait for their pod. Leader only.",
		Buckets: []float64{5, 15, 60, 300, 900, 3600, 14400, 43200, 86400},
	}, []string{"operation"})
	s.lastSuccess = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "repository_last_maintenance_timestamp_seconds",
		Help: "Time of the last successful check or prune of the repository, in seconds since 1970. Leader only.",
	}, append([]string{"operation"}, repository...))
	s.intact = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "repository_intact",
		Help: "1 if the last check succeeded, 0 if it found damage; missing before the first check. Leader only.",
	}, repository)
	s.lockedSince = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "repository_locked_since_timestamp_seconds",
		Help: "Time since which a lock blocks an operation, in seconds since 1970; 0 if none does. Leader only.",
	}, repository)
}

// gauges are those with a series for each repository.
func (s *Set) gauges() []*prometheus.GaugeVec {
	return []*prometheus.GaugeVec{s.ready, s.orphans, s.lastSuccess, s.intact, s.lockedSince}
}

// LeaderGone drops the series of all repositories and of the rules: from now on another agent tells of them.
func (s *Set) LeaderGone() {
	s.RulesUnknown()
	for _, gauge := range s.gauges() {
		gauge.Reset()
	}
}

// Maintained tells how a repository's maintenance stands.
func (s *Set) Maintained(repository *resticv1.ResticRepository) {
	labels := []string{repository.Name, repository.Spec.VolumeNamespace, repository.Spec.BackupStorageLocation}
	status := &repository.Status
	for operation, at := range map[string]*metav1.Time{
		"prune": status.LastMaintenanceTime, "check": status.LastCheckTime,
	} {
		if at != nil {
			s.lastSuccess.WithLabelValues(append([]string{operation}, labels...)...).Set(float64(at.Unix()))
		}
	}
	if intact := meta.FindStatusCondition(status.Conditions, resticv1.ConditionIntact); intact != nil {
		value := 0.0
		if intact.Status == metav1.ConditionTrue {
			value = 1
		}
		s.intact.WithLabelValues(labels...).Set(value)
	}
	since := 0.0
	unlocked := meta.FindStatusCondition(status.Conditions, resticv1.ConditionUnlocked)
	if unlocked != nil && unlocked.Status == metav1.ConditionFalse {
		since = float64(unlocked.LastTransitionTime.Unix())
	}
	s.lockedSince.WithLabelValues(labels...).Set(since)
}

// MaintenanceEnded counts an operation on a repository that has just ended.
func (s *Set) MaintenanceEnded(entry *resticv1.Maintenance) {
	labels := maintenanceLabels(entry.Operation, entry.Result)
	s.maintained.WithLabelValues(labels...).Inc()
	if entry.Duration != nil {
		s.maintainSeconds.WithLabelValues(labels[:1]...).Observe(entry.Duration.Seconds())
	}
}

func maintenanceLabels(operation resticv1.MaintenanceOperation, result resticv1.MaintenanceResult) []string {
	return []string{strings.ToLower(string(operation)), strings.ToLower(string(result))}
}
