// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	"github.com/velero-restic/velero-plugin-for-restic/internal/inventory"
)

const (
	// stockTime is how long taking stock of the cluster may take before it is begun anew.
	stockTime = 5 * time.Minute
	// stockPause is how long to wait after it has failed, such as for lack of permission.
	stockPause = time.Minute
)

// watcher shows how claims are covered for as long as this agent leads. It never ends the leader's other duties: what
// it cannot read is logged, shown by metric velero_restic_coverage_up, and tried again.
type watcher struct {
	config  *rest.Config
	options *Options
	show    *metric.Coverage
}

var _ manager.Runnable = &watcher{}

// addCoverage adds the watch over claims, unless it is turned off.
func (l *leader) addCoverage(mgr manager.Manager) error {
	if !l.options.Coverage {
		return nil
	}
	return addRunnables(mgr, &watcher{config: l.config, options: l.options, show: l.covered})
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
	<-ctx.Done()
	return nil
}
