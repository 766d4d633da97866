// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

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

	"github.com/velero-restic/velero-plugin-for-restic/agent/controller"
	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/inventory"
)

const (
	// stockTime is how long taking stock of the cluster may take before it is begun anew.
	stockTime = 5 * time.Minute
	// stockPause is how long to wait after it has failed, such as for lack of permission.
	stockPause = time.Minute
	// troubleLook is how often to see whether something cannot be read. What lasts for two looks is told.
	troubleLook = 30 * time.Second
)

// watcher shows how claims are covered for as long as this agent leads. It never ends the leader's other duties: what
// it cannot read is logged, shown by metric velero_restic_coverage_up and by an Event, and tried again.
type watcher struct {
	config  *rest.Config
	options *Options
	show    *metric.Coverage
	trouble *troubleTeller
}

var _ manager.Runnable = &watcher{}

// addCoverage adds the watch over claims, unless it is turned off.
func (l *leader) addCoverage(mgr manager.Manager) error {
	if !l.options.Coverage {
		return nil
	}
	return addRunnables(mgr, &watcher{
		config: l.config, options: l.options, show: l.covered, trouble: &troubleTeller{
			reader: mgr.GetAPIReader(), recorder: mgr.GetEventRecorderFor(component), namespace: l.options.Namespace,
		},
	})
}

// Start watches until the context ends.
func (w *watcher) Start(ctx context.Context) error {
	term := w.show.Lead()
	defer term.End()
	for ctx.Err() == nil {
		err := w.watch(ctx, term)
		if ctx.Err() != nil {
			return nil
		}
		ctrl.Log.Error(err, "Watching which claims are protected: trying again", "after", stockPause.String())
		w.trouble.tell(ctx, err)
		select {
		case <-ctx.Done():
		case <-time.After(stockPause):
		}
	}
	return nil
}

// watch shows the states of claims until the context ends or they cannot be found out.
func (w *watcher) watch(ctx context.Context, term *metric.Term) error {
	stock, err := inventory.New(w.config, inventory.Options{
		Namespace: w.options.Namespace, StaleAfter: w.options.CoverageStaleAfter, ClaimsOnly: true,
		Log: ctrl.Log.WithName("coverage"),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	stopped := make(chan error, 1)
	go func() { stopped <- stock.Start(ctx) }()
	defer func() {
		term.Hide()
		cancel()
		<-stopped
	}()
	limited, done := context.WithTimeoutCause(ctx, stockTime, fmt.Errorf("it took more than %s", stockTime))
	defer done()
	if err := stock.WaitForSync(limited); err != nil {
		return err
	}
	ctrl.Log.Info("Watching which claims are protected", "claims", len(stock.States(time.Now())))
	term.Show(stock)
	w.trouble.follow(ctx, stock.ReadError)
	return nil
}

// troubleTeller tells of what coverage cannot read by a Warning on the agents' DaemonSet: there people look who find no
// states of claims, and need no log for it.
type troubleTeller struct {
	reader    client.Reader
	recorder  record.EventRecorder
	namespace string

	told string // the last thing that was said, and has not ended since
}

// follow tells of what lasts until the context ends.
func (t *troubleTeller) follow(ctx context.Context, current func() error) {
	ticker := time.NewTicker(troubleLook)
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
			t.told = ""
		} else if lasts {
			t.tell(ctx, err)
		}
		lasts = err != nil
	}
}

// tell makes an Event, unless the last one said the same.
func (t *troubleTeller) tell(ctx context.Context, trouble error) {
	if trouble == nil || t.told == trouble.Error() {
		return
	}
	set := &appsv1.DaemonSet{}
	key := client.ObjectKey{Namespace: t.namespace, Name: contract.DaemonSetName}
	if err := t.reader.Get(ctx, key, set); err != nil {
		ctrl.Log.Error(err, "Telling what coverage cannot read")
		return
	}
	message := fmt.Sprintf("No state of claims is known, or they may be behind: %s. After an update of the agents "+
		"apply examples/base/rbac again.", trouble)
	t.recorder.Event(set, corev1.EventTypeWarning, resticv1.ReasonCoverageDown, controller.Clip(message))
	t.told = trouble.Error()
}
