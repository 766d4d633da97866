// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/velero-restic/velero-plugin-for-restic/agent/annotate"
	"github.com/velero-restic/velero-plugin-for-restic/agent/coverage"
	"github.com/velero-restic/velero-plugin-for-restic/agent/event"
	"github.com/velero-restic/velero-plugin-for-restic/agent/lock"
	"github.com/velero-restic/velero-plugin-for-restic/agent/maintenance"
	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	"github.com/velero-restic/velero-plugin-for-restic/agent/repository"
	"github.com/velero-restic/velero-plugin-for-restic/agent/retention"
	"github.com/velero-restic/velero-plugin-for-restic/agent/rule"
	"github.com/velero-restic/velero-plugin-for-restic/agent/stranded"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/agent/worker"
)

// leaderConcurrency is how many repositories are probed, or have snapshots removed, at a time.
const leaderConcurrency = 2

// leaderControllers adds to the leader's manager what looks after repositories and after the whole cluster.
type leaderControllers struct {
	config   *rest.Config
	options  *Options
	mover    *transfer.Mover
	counters *metric.Set
	covered  *metric.Coverage
	clock    clock.PassiveClock
}

// setup is the Setup of a leader.Role.
func (l *leaderControllers) setup(ctx context.Context, mgr ctrl.Manager) error {
	recorder := mgr.GetEventRecorderFor(component)
	strandedMonitor := &stranded.Monitor{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Namespace: l.options.Namespace, Clock: l.clock,
		Announcer: &event.Announcer{Recorder: recorder, Metrics: l.counters},
	}
	rules := &rule.Watch{
		Reader: mgr.GetAPIReader(), Recorder: recorder, Metrics: l.counters, Namespace: l.options.Namespace,
	}
	return errors.Join(
		l.addRepositories(mgr, recorder), l.addMaintenance(mgr, recorder), l.addForget(ctx, mgr, recorder),
		l.addOrphans(mgr, recorder), l.addCoverage(mgr, recorder), l.addAnnotate(mgr, recorder),
		strandedMonitor.SetupWithManager(ctx, mgr), addRunnables(mgr, rules),
	)
}

func (l *leaderControllers) addRepositories(mgr manager.Manager, recorder record.EventRecorder) error {
	wakeup := worker.NewWakeup()
	jobs := transfer.NewPool[transfer.ProbeOutcome](leaderConcurrency, wakeup.Changed)
	repositories := &repository.Reconciler{
		Client: mgr.GetClient(), Recorder: recorder, Metrics: l.counters, Clock: l.clock,
		AllowStaticPassword: l.options.AllowStaticPassword, Jobs: jobs, Probe: l.mover.Probe,
	}
	return errors.Join(repositories.SetupWithManager(mgr, wakeup), addRunnables(mgr, jobs))
}

func (l *leaderControllers) addMaintenance(mgr manager.Manager, recorder record.EventRecorder) error {
	jobs := &maintenance.Reconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Metrics: l.counters,
		ConfigMap: l.options.MaintenanceConfig, Clock: l.clock,
	}
	wakeup := worker.NewWakeup()
	lockJobs := transfer.NewPool[transfer.LocksOutcome](leaderConcurrency, wakeup.Changed)
	locks := &lock.Reconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Metrics: l.counters,
		Clock: l.clock, Jobs: lockJobs, Locks: l.mover.Locks,
	}
	return errors.Join(jobs.SetupWithManager(mgr), locks.SetupWithManager(mgr, wakeup), addRunnables(mgr, lockJobs))
}

func (l *leaderControllers) addForget(
	ctx context.Context, mgr manager.Manager, recorder record.EventRecorder,
) error {
	wakeup := worker.NewWakeup()
	jobs := transfer.NewPool[transfer.ForgetOutcome](leaderConcurrency, wakeup.Changed)
	forget := &retention.ForgetReconciler{
		Client: mgr.GetClient(), Recorder: recorder, Metrics: l.counters, Jobs: jobs, Forget: l.mover.Forget,
		Clock: l.clock,
	}
	return errors.Join(forget.SetupWithManager(ctx, mgr, wakeup), addRunnables(mgr, jobs))
}

// addOrphans adds the search for orphans, unless it is turned off.
func (l *leaderControllers) addOrphans(mgr manager.Manager, recorder record.EventRecorder) error {
	if l.options.OrphanSweep == 0 {
		return nil
	}
	wakeup := worker.NewWakeup()
	jobs := transfer.NewPool[retention.SweepOutcome](1, wakeup.Changed)
	orphans := &retention.OrphanReconciler{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Recorder: recorder, Metrics: l.counters,
		Clock: l.clock, Interval: l.options.OrphanSweep, Grace: l.options.OrphanGrace, Jobs: jobs,
		Census: l.mover.Census, Forget: l.mover.Forget,
	}
	if err := errors.Join(orphans.SetupWithManager(mgr, wakeup), addRunnables(mgr, jobs)); err != nil {
		return fmt.Errorf("preparing the sweep of orphans: %w", err)
	}
	return nil
}

// addCoverage adds the watch over claims, unless it is turned off.
func (l *leaderControllers) addCoverage(mgr manager.Manager, recorder record.EventRecorder) error {
	if !l.options.Coverage {
		return nil
	}
	return addRunnables(mgr, &coverage.Watcher{
		Config: l.config, Reader: mgr.GetAPIReader(), Recorder: recorder, Metrics: l.covered,
		Namespace: l.options.Namespace, StaleAfter: l.options.CoverageStaleAfter,
	})
}

// addAnnotate adds the writer of pods' annotations, if it is turned on.
func (l *leaderControllers) addAnnotate(mgr manager.Manager, recorder record.EventRecorder) error {
	if !l.options.AnnotatePods {
		return nil
	}
	return addRunnables(mgr, &annotate.Runner{
		Config: l.config, Scheme: mgr.GetScheme(), Client: mgr.GetClient(), Reader: mgr.GetAPIReader(),
		Recorder: recorder, Metrics: l.counters, Namespace: l.options.Namespace,
	})
}
