// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/velero-restic/velero-plugin-for-restic/agent/controller"
	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
)

// leaderConcurrency is how many repositories are probed, or have snapshots removed, at a time.
const leaderConcurrency = 2

// leaderPause is how long an agent stands back that could not do the leader's work: long enough for another one to try.
const leaderPause = 30 * time.Second

// leader is the role that one agent of the cluster has besides its node's: it looks after repositories. It is a
// manager.Runnable of the node's manager, with a manager of its own for as long as it leads, so that an agent which
// loses the Lease goes on with its node's transfers.
type leader struct {
	config   *rest.Config
	options  *Options
	mover    *transfer.Mover
	counters *metric.Set
	covered  *metric.Coverage
}

var _ manager.Runnable = &leader{}

// Start takes part in the election until the context ends.
func (l *leader) Start(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(l.config)
	if err != nil {
		return fmt.Errorf("preparing the election: %w", err)
	}
	e := election{
		client: client, namespace: l.options.Namespace, identity: l.options.Node, lead: l.lead, pause: leaderPause,
	}
	return e.run(ctx)
}

// lead runs the leader's controllers until the context ends.
func (l *leader) lead(ctx context.Context) error {
	ctrl.Log.Info("Leading")
	defer l.counters.LeaderGone()
	mgr, err := ctrl.NewManager(l.config, ctrl.Options{
		Scheme:  newScheme(),
		Metrics: metricsserver.Options{BindAddress: "0"}, // the node's manager serves what both count
		Cache: cache.Options{
			DefaultNamespaces:           map[string]cache.Config{l.options.Namespace: {}},
			ReaderFailOnMissingInformer: true,
		},
	})
	if err != nil {
		return fmt.Errorf("preparing the leader role: %w", err)
	}
	recorder := mgr.GetEventRecorderFor(component)
	probes, forgets, looks := controller.NewWakeup(), controller.NewWakeup(), controller.NewWakeup()
	probeJobs := transfer.NewPool[transfer.ProbeOutcome](leaderConcurrency, probes.Changed)
	forgetJobs := transfer.NewPool[transfer.ForgetOutcome](leaderConcurrency, forgets.Changed)
	lookJobs := transfer.NewPool[transfer.LocksOutcome](leaderConcurrency, looks.Changed)
	repositories := &controller.RepositoryReconciler{
		Client: mgr.GetClient(), Recorder: recorder, Metrics: l.counters, Clock: clock.RealClock{},
		AllowStaticPassword: l.options.AllowStaticPassword, Jobs: probeJobs, Probe: l.mover.Probe,
	}
	forget := &controller.ForgetReconciler{
		Client: mgr.GetClient(), Recorder: recorder, Metrics: l.counters, Jobs: forgetJobs, Forget: l.mover.Forget,
		Clock: clock.RealClock{},
	}
	maintenance := &controller.MaintenanceReconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Metrics: l.counters,
		ConfigMap: l.options.MaintenanceConfig, Clock: clock.RealClock{},
	}
	locks := &controller.LockReconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Metrics: l.counters,
		Clock: clock.RealClock{}, Jobs: lookJobs, Locks: l.mover.Locks,
	}
	stranded := &controller.Stranded{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Namespace: l.options.Namespace, Clock: clock.RealClock{},
		Announcer: &controller.Announcer{Recorder: recorder, Metrics: l.counters},
	}
	if err := errors.Join(l.addSweep(mgr, recorder), l.addCoverage(mgr), l.addAnnotator(mgr, recorder)); err != nil {
		return err
	}
	rules := &controller.RuleWatch{
		Reader: mgr.GetAPIReader(), Recorder: recorder, Metrics: l.counters, Namespace: l.options.Namespace,
	}
	if err := errors.Join(
		repositories.SetupWithManager(mgr, probes), forget.SetupWithManager(mgr, forgets),
		maintenance.SetupWithManager(mgr), locks.SetupWithManager(mgr, looks),
		stranded.SetupWithManager(mgr), addRunnables(mgr, probeJobs, forgetJobs, lookJobs, rules),
	); err != nil {
		return fmt.Errorf("preparing the leader role: %w", err)
	}
	return mgr.Start(ctx)
}

// addSweep adds the search for orphans, unless it is turned off.
func (l *leader) addSweep(mgr manager.Manager, recorder record.EventRecorder) error {
	if l.options.OrphanSweep == 0 {
		return nil
	}
	sweeps := controller.NewWakeup()
	jobs := transfer.NewPool[controller.SweepOutcome](1, sweeps.Changed)
	orphans := &controller.OrphanReconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Metrics: l.counters,
		Clock: clock.RealClock{}, Interval: l.options.OrphanSweep, Grace: l.options.OrphanGrace, Jobs: jobs,
		Census: l.mover.Census, Forget: l.mover.Forget,
	}
	if err := errors.Join(orphans.SetupWithManager(mgr, sweeps), addRunnables(mgr, jobs)); err != nil {
		return fmt.Errorf("preparing the sweep of orphans: %w", err)
	}
	return nil
}
