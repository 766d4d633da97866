// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package metric holds what the agent counts. Labels are few and bounded, so that a cluster of thousands of volumes
// stays cheap to scrape.
package metric

import (
	"github.com/prometheus/client_golang/prometheus"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

const namespace = "velero_restic"

// Operation is a kind of work on a volume.
type Operation string

// The operations.
const (
	Backup  Operation = "backup"
	Restore Operation = "restore"
)

// Set is the agent's metrics.
type Set struct {
	operations *prometheus.CounterVec
	warnings   *prometheus.CounterVec
	bytes      *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	ready      *prometheus.GaugeVec
	forgotten  prometheus.Counter
	orphans    *prometheus.GaugeVec
	swept      prometheus.Counter

	maintained      *prometheus.CounterVec
	maintainSeconds *prometheus.HistogramVec
	lastSuccess     *prometheus.GaugeVec
	intact          *prometheus.GaugeVec
	lockedSince     *prometheus.GaugeVec
	rulesValid      *prometheus.GaugeVec
	annotated       *prometheus.CounterVec
}

// New registers the metrics. It returns the registry's error, such as for a name that is taken.
func New(registry prometheus.Registerer) (*Set, error) {
	s := &Set{
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "pod_volume_operations_total",
			Help: "Backups and restores of volumes that ended, by operation (backup, restore) and final phase.",
		}, []string{"operation", "phase"}),
		warnings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "pod_volume_warnings_total",
			Help: "Files that could not be read, or whose attributes could not be set, in completed operations.",
		}, []string{"operation"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "pod_volume_bytes_total",
			Help: "Size of the files in completed operations, in bytes.",
		}, []string{"operation"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "pod_volume_operation_seconds",
			Help:    "Time from the creation of the object to its final phase, including waits.",
			Buckets: []float64{1, 2, 5, 10, 30, 60, 300, 900, 3600, 14400},
		}, []string{"operation"}),
		ready: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Name: "repository_ready",
			Help: "1 if the repository opens with its password, else 0. Leader only.",
		}, []string{"repository", "volume_namespace", "storage_location"}),
		orphans: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: namespace, Name: "repository_orphans",
			Help: "Snapshots that this cluster created for backups that no longer exist. Leader only.",
		}, []string{"repository", "volume_namespace", "storage_location"}),
		swept: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "orphans_swept_total",
			Help: "Snapshots that were removed because their backups no longer exist. Leader only.",
		}),
		forgotten: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "snapshots_forgotten_total",
			Help: "Snapshots that were removed because their backup was deleted. Leader only.",
		}),
	}
	s.addMaintenance()
	s.addAnnotation()
	s.rulesValid = newRulesValid()
	for _, collector := range []prometheus.Collector{
		s.operations, s.warnings, s.bytes, s.seconds, s.ready, s.forgotten, s.orphans, s.swept,
		s.maintained, s.maintainSeconds, s.lastSuccess, s.intact, s.lockedSince, s.rulesValid, s.annotated,
	} {
		if err := registry.Register(collector); err != nil {
			return nil, err
		}
	}
	s.begin()
	return s, nil
}

// begin shows each counter as 0 before the first time: Prometheus sees an increase between two values only, so the
// first failure of an agent would otherwise go unnoticed by every alert.
func (s *Set) begin() {
	for _, kind := range []Operation{Backup, Restore} {
		for _, phase := range []resticv1.VolumePhase{
			resticv1.PhaseCompleted, resticv1.PhaseFailed, resticv1.PhaseCanceled, resticv1.PhaseSkipped,
		} {
			s.operations.WithLabelValues(string(kind), string(phase))
		}
		s.warnings.WithLabelValues(string(kind))
		s.bytes.WithLabelValues(string(kind))
	}
	for _, result := range []Annotation{AnnotationWritten, AnnotationRefused} {
		s.annotated.WithLabelValues(string(result))
	}
	for _, operation := range []resticv1.MaintenanceOperation{
		resticv1.OperationCheck, resticv1.OperationPrune, resticv1.OperationUnlock,
	} {
		for _, result := range []resticv1.MaintenanceResult{
			resticv1.MaintenanceSucceeded, resticv1.MaintenanceFailed, resticv1.MaintenanceLocked,
		} {
			s.maintained.WithLabelValues(maintenanceLabels(operation, result)...)
		}
	}
}

// Finished counts an operation that has just reached its final phase.
func (s *Set) Finished(kind Operation, operation resticv1.VolumeOperation) {
	status := operation.VolumeStatus()
	s.operations.WithLabelValues(string(kind), string(status.Phase)).Inc()
	if end := status.CompletionTimestamp; end != nil && status.Phase != resticv1.PhaseSkipped {
		s.seconds.WithLabelValues(string(kind)).Observe(end.Sub(operation.GetCreationTimestamp().Time).Seconds())
	}
	if status.Phase == resticv1.PhaseCompleted {
		s.warnings.WithLabelValues(string(kind)).Add(float64(status.WarningCount))
		s.bytes.WithLabelValues(string(kind)).Add(float64(status.Progress.BytesDone))
	}
}

// RepositoryReady tells how a repository is.
func (s *Set) RepositoryReady(repository *resticv1.ResticRepository) {
	value := 0.0
	if repository.Status.Phase == resticv1.RepositoryReady {
		value = 1
	}
	s.ready.WithLabelValues(repository.Name, repository.Spec.VolumeNamespace,
		repository.Spec.BackupStorageLocation).Set(value)
}

// RepositoryGone drops the series of a repository whose object was deleted.
func (s *Set) RepositoryGone(name string) {
	for _, gauge := range s.gauges() {
		gauge.DeletePartialMatch(prometheus.Labels{"repository": name})
	}
}

// Forgotten counts snapshots that were removed.
func (s *Set) Forgotten(count int) { s.forgotten.Add(float64(count)) }

// Orphans tells how many orphans a repository has.
func (s *Set) Orphans(repository *resticv1.ResticRepository, count int) {
	s.orphans.WithLabelValues(repository.Name, repository.Spec.VolumeNamespace,
		repository.Spec.BackupStorageLocation).Set(float64(count))
}

// OrphansGone drops the series of a repository whose object was deleted.
func (s *Set) OrphansGone(name string) {
	s.orphans.DeletePartialMatch(prometheus.Labels{"repository": name})
}

// Swept counts orphans that were removed.
func (s *Set) Swept(count int) { s.swept.Add(float64(count)) }
