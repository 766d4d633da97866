// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package retention

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/velero-restic/velero-plugin-for-restic/agent/event"
	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	"github.com/velero-restic/velero-plugin-for-restic/agent/status"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/agent/worker"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

const (
	// firstSweep is within what time of the leader's start a repository is first swept, so that not all are at once.
	firstSweep = 10 * time.Minute
	// sweepRetry is how soon a repository is looked at again that was not ready, or whose sweep failed.
	sweepRetry = 5 * time.Minute
	// sweepTimeout bounds one sweep.
	sweepTimeout = 30 * time.Minute
)

// OrphanReconciler finds the snapshots that this cluster made for backups which no longer exist, reports them, and
// removes them after a grace period. It runs in the leader alone.
type OrphanReconciler struct {
	// Client reads from the cache.
	Client client.Client
	// Reader reads from the API server: Velero's backups are too many to be kept in memory.
	Reader client.Reader
	// Recorder tells of orphans.
	Recorder record.EventRecorder
	// Metrics counts.
	Metrics *metric.Set
	// Clock tells the time.
	Clock clock.PassiveClock
	// Interval is how often each repository is swept.
	Interval time.Duration
	// Grace is how long an orphan is reported before it is removed.
	Grace time.Duration
	// Jobs runs the sweeps.
	Jobs *transfer.Pool[SweepOutcome]
	// Census lists a repository's snapshots: transfer.Mover.Census.
	Census func(context.Context, transfer.Repository) (transfer.Census, error)
	// Forget removes them: transfer.Mover.Forget.
	Forget func(context.Context, transfer.ForgetRequest, func(transfer.Progress)) (transfer.ForgetOutcome, error)

	mu sync.Mutex
	// rounds are by the request of the repository.
	states map[string]*sweepState
}

// sweepState is what the leader remembers of a repository between two sweeps.
type sweepState struct {
	// due is when the next sweep is.
	due time.Time
	// seen is when each orphan was first reported. The status has the first hundred of them, which outlive the leader.
	seen map[string]metav1.Time
}

// SetupWithManager registers the reconciler.
func (r *OrphanReconciler) SetupWithManager(mgr ctrl.Manager, wakeup worker.Wakeup) error {
	return ctrl.NewControllerManagedBy(mgr).Named("orphan").
		For(&resticv1.ResticRepository{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(wakeup.Source()).
		WithOptions(worker.LeaderOnly()).Complete(r)
}

// Reconcile sweeps one repository when it is due, and saves what was found.
func (r *OrphanReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	key := request.String()
	repository := &resticv1.ResticRepository{}
	if err := r.Client.Get(ctx, request.NamespacedName, repository); err != nil {
		if apierrors.IsNotFound(err) {
			r.drop(key, request.Name)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	state, found := r.Jobs.State(key)
	switch {
	case found && state.Phase != transfer.Done:
		return ctrl.Result{}, nil
	case found && errors.Is(state.Err, transfer.ErrStopping):
		return ctrl.Result{}, nil
	case found:
		return r.conclude(ctx, key, repository, state)
	}
	now := r.Clock.Now()
	due := r.state(key, repository).due
	switch {
	case now.Before(due):
		return ctrl.Result{RequeueAfter: due.Sub(now)}, nil
	case repository.Status.Phase != resticv1.RepositoryReady:
		return ctrl.Result{RequeueAfter: min(sweepRetry, r.Interval)}, nil
	}
	return ctrl.Result{}, r.Jobs.Submit(key, "", sweepTimeout,
		func(ctx context.Context, _ func(transfer.Progress)) (SweepOutcome, error) {
			return r.sweep(ctx, key, repository)
		})
}

func (r *OrphanReconciler) drop(key, name string) {
	r.Jobs.Cancel(key, worker.ErrObjectGone)
	r.Jobs.Remove(key)
	r.Metrics.OrphansGone(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.states, key)
}

// state returns what is remembered of a repository. A leader that has just begun goes on with what the status says.
func (r *OrphanReconciler) state(key string, repository *resticv1.ResticRepository) *sweepState {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known := r.states[key]; known != nil {
		return known
	}
	wait := rand.Int64N(int64(min(firstSweep, r.Interval))) //nolint:gosec // spreads load, guards nothing
	created := &sweepState{due: r.Clock.Now().Add(time.Duration(wait)), seen: map[string]metav1.Time{}}
	for _, orphan := range repository.Status.Orphans {
		created.seen[orphan.SnapshotID] = orphan.FirstSeen
	}
	if r.states == nil {
		r.states = map[string]*sweepState{}
	}
	r.states[key] = created
	return created
}

// conclude saves what a sweep has found, tells of it, and sets the time of the next one.
func (r *OrphanReconciler) conclude(
	ctx context.Context, key string, repository *resticv1.ResticRepository, state transfer.State[SweepOutcome],
) (ctrl.Result, error) {
	outcome := state.Result
	known := r.state(key, repository)
	wait := min(sweepRetry, r.Interval)
	if outcome.Complete {
		old := repository.DeepCopy()
		repository.Status.OrphanCount = int32(len(outcome.Orphans)) //nolint:gosec // far below two thousand million
		repository.Status.Orphans = slices.Clone(outcome.Orphans[:min(len(outcome.Orphans), resticv1.MaxOrphans)])
		others := outcome.OtherClusters[:min(len(outcome.OtherClusters), resticv1.MaxOtherClusters)]
		repository.Status.OtherClusters = others
		if _, err := status.Save(ctx, r.Client, old, repository); err != nil {
			return worker.RequeueOnConflict(ctrl.Result{}, err)
		}
		r.recordEvents(old, repository, &outcome)
		r.mu.Lock()
		known.seen = firstSeen(outcome.Orphans)
		r.mu.Unlock()
		r.Metrics.Orphans(repository, len(outcome.Orphans))
		wait = r.wait(outcome.Orphans)
	}
	if state.Err != nil {
		r.Recorder.Event(repository, corev1.EventTypeWarning, resticv1.ReasonSweepFailed, event.Clip(fmt.Sprintf(
			"Looking for snapshots of backups that no longer exist: %s", state.Err)))
		wait = min(sweepRetry, r.Interval)
	}
	r.Metrics.Swept(outcome.Swept)
	r.mu.Lock()
	known.due = r.Clock.Now().Add(wait)
	r.mu.Unlock()
	r.Jobs.Remove(key)
	return ctrl.Result{RequeueAfter: wait}, nil
}

func firstSeen(orphans []resticv1.Orphan) map[string]metav1.Time {
	seen := make(map[string]metav1.Time, len(orphans))
	for _, orphan := range orphans {
		seen[orphan.SnapshotID] = orphan.FirstSeen
	}
	return seen
}

// wait returns the time to the next sweep: not longer than to the end of the next orphan's grace period.
func (r *OrphanReconciler) wait(orphans []resticv1.Orphan) time.Duration {
	wait := r.Interval
	for _, orphan := range orphans {
		if left := r.Grace - r.Clock.Since(orphan.FirstSeen.Time); left > 0 {
			wait = min(wait, left+time.Second) // times in a status have whole seconds
		}
	}
	return wait
}

// recordEvents has an Event for each thing that is new.
func (r *OrphanReconciler) recordEvents(old, repository *resticv1.ResticRepository, outcome *SweepOutcome) {
	if outcome.New > 0 {
		newest := outcome.Orphans[len(outcome.Orphans)-1]
		action := fmt.Sprintf("they are removed %s after they were first reported, unless the backup comes "+
			"back", r.Grace)
		if outcome.ReadOnly {
			action = "they stay, since the storage location is read-only"
		}
		r.Recorder.Event(repository, corev1.EventTypeWarning, resticv1.ReasonOrphansFound, event.Clip(fmt.Sprintf(
			"%d snapshots are of backups that no longer exist, %d of them newly found, such as %.8s of backup %s, "+
				"volume %s of pod %s: %s", len(outcome.Orphans), outcome.New, newest.SnapshotID, newest.Backup,
			newest.Volume, newest.Pod, action)))
	}
	if outcome.Swept > 0 {
		r.Recorder.Event(repository, corev1.EventTypeNormal, resticv1.ReasonOrphansSwept, fmt.Sprintf(
			"%d snapshots of backups that no longer exist were removed", outcome.Swept))
	}
	added := slices.DeleteFunc(slices.Clone(repository.Status.OtherClusters), func(id string) bool {
		return slices.Contains(old.Status.OtherClusters, id)
	})
	if len(added) > 0 {
		r.Recorder.Event(repository, corev1.EventTypeNormal, resticv1.ReasonSharedRepository, event.Clip(fmt.Sprintf(
			"Other clusters have snapshots in this repository, too: %s. Each deletes only its own; for separate "+
				"repositories give each cluster a prefix", strings.Join(added, ", "))))
	}
}
