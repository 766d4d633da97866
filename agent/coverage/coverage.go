// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package coverage shows by metrics which claims are protected, for as long as this agent leads.
package coverage

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/velero-restic/velero-plugin-for-restic/agent/event"
	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/inventory"
)

const (
	// syncTimeout is how long reading the cluster's state may take before it is started again.
	syncTimeout = 5 * time.Minute
	// retryInterval is how long to wait after it has failed, such as without permission.
	retryInterval = time.Minute
	// reportInterval is how often to check for errors. An error that two checks in a row find is reported.
	reportInterval = 30 * time.Second
)

// Watcher shows which claims are protected for as long as this agent leads. It never ends the leader's other duties:
// what it cannot read is logged, shown by metric velero_restic_coverage_up and by an Event, and tried again.
type Watcher struct {
	// Config is how to reach the API server.
	Config *rest.Config
	// Reader reads from the API server.
	Reader client.Reader
	// Recorder takes Events on the agents' DaemonSet.
	Recorder record.EventRecorder
	// Metrics shows the states of claims.
	Metrics *metric.Coverage
	// Namespace is Velero's.
	Namespace string
	// StaleAfter is how old the last success of a protected claim may be; 0 for two runs of its schedule.
	StaleAfter time.Duration
}

var _ manager.Runnable = &Watcher{}

// Start watches until the context ends.
func (w *Watcher) Start(ctx context.Context) error {
	reporter := &errorReporter{reader: w.Reader, recorder: w.Recorder, namespace: w.Namespace}
	term := w.Metrics.Lead()
	defer term.End()
	for ctx.Err() == nil {
		err := w.watch(ctx, term, reporter)
		if ctx.Err() != nil {
			return nil
		}
		ctrl.Log.Error(err, "Watching which claims are protected: trying again", "after", retryInterval.String())
		reporter.report(ctx, err)
		select {
		case <-ctx.Done():
		case <-time.After(retryInterval):
		}
	}
	return nil
}

// watch shows the states of claims until the context ends or they cannot be found out.
func (w *Watcher) watch(ctx context.Context, term *metric.Term, reporter *errorReporter) error {
	states, err := inventory.New(w.Config, inventory.Options{
		Namespace: w.Namespace, StaleAfter: w.StaleAfter, ClaimsOnly: true,
		Log: ctrl.Log.WithName("coverage"),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if err := states.Start(ctx); err != nil {
			ctrl.Log.Error(err, "Reading cluster state")
		}
	}()
	defer func() {
		term.Hide()
		cancel()
		<-stopped
	}()
	limited, done := context.WithTimeoutCause(ctx, syncTimeout, fmt.Errorf("it took more than %s", syncTimeout))
	defer done()
	if err := states.WaitForSync(limited); err != nil {
		return err
	}
	ctrl.Log.Info("Watching which claims are protected", "claims", len(states.States(time.Now())))
	term.Show(states)
	reporter.follow(ctx, states.ReadError)
	return nil
}

// errorReporter reports what coverage cannot read by a Warning on the agents' DaemonSet: people who find no states of
// claims look there, and need no log.
type errorReporter struct {
	reader    client.Reader
	recorder  record.EventRecorder
	namespace string

	reported string // the error of the last Event, as long as it lasts
}

// follow reports errors that last, until the context ends.
func (r *errorReporter) follow(ctx context.Context, current func() error) {
	ticker := time.NewTicker(reportInterval)
	defer ticker.Stop()
	lasts := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := current()
		if err == nil {
			r.reported = ""
		} else if lasts {
			r.report(ctx, err)
		}
		lasts = err != nil
	}
}

// report records an Event, unless the last one had the same error.
func (r *errorReporter) report(ctx context.Context, cause error) {
	if cause == nil || r.reported == cause.Error() {
		return
	}
	set := &appsv1.DaemonSet{}
	key := client.ObjectKey{Namespace: r.namespace, Name: contract.DaemonSetName}
	if err := r.reader.Get(ctx, key, set); err != nil {
		ctrl.Log.Error(err, "Telling what coverage cannot read")
		return
	}
	message := fmt.Sprintf("No state of claims is known, or they may be behind: %s. After an update of the agents "+
		"apply examples/base/rbac again.", cause)
	r.recorder.Event(set, corev1.EventTypeWarning, resticv1.ReasonCoverageDown, event.Clip(message))
	r.reported = cause.Error()
}
