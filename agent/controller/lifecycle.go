// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package controller reconciles the custom resources. It starts no process and touches no file: package transfer
// does, beside the workers. Every decision is made from the object as it is, so that an agent which starts anew
// goes on where the last one was killed.
package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

const (
	// maxAttempts is how often a transfer is started when it ends through no fault of the volume: its agent was
	// killed, or restic was.
	maxAttempts = 3
	// heartbeatInterval is how often a transfer says that it is alive, without having moved.
	heartbeatInterval = 30 * time.Second
	// waitInterval is how soon something that is waited for is looked at again, if no event comes before.
	waitInterval = 5 * time.Second
)

// stopError is why this agent stops a transfer.
type stopError struct{ reason string }

// Error implements error.
func (e *stopError) Error() string { return e.reason }

const canceledOnRequest = "canceled on request"

func errCancelRequested() error { return &stopError{canceledOnRequest} }
func errObjectGone() error      { return &stopError{"its object was deleted"} }
func errEnded() error           { return &stopError{"it was ended by somebody else"} }

// plan is what a reconciler has found out about an operation that has not been started: exactly one of wait, fail and
// work is set.
type plan[R any] struct {
	// wait says what is being waited for.
	wait string
	// fail says why the operation cannot succeed.
	fail string
	// work does it. No two operations with the same exclusive key are done at once.
	work      transfer.Work[R]
	exclusive string
	// confirm looks once more, after the attempt was saved, whether somebody else has begun the same; it returns what
	// to wait for then, and for how long. Nil where nobody else could.
	confirm func(ctx context.Context) (wait string, retry time.Duration, err error)
}

// lifecycle takes an operation from New to a final phase, with a job of the pool.
type lifecycle[R any] struct {
	// agent is the name of this agent's pod.
	agent            string
	jobs             *transfer.Pool[R]
	clock            clock.PassiveClock
	progressInterval time.Duration
}

// steps are what backups and restores do differently.
type steps[R any] struct {
	// prepare is called while there is no job. It may leave a plan for later by wait.
	prepare func(ctx context.Context) (plan[R], error)
	// save writes the status to the API server. It is called before the job starts, so that an attempt which is
	// killed has been counted.
	save func(ctx context.Context) error
	// record writes a job's outcome into the status; err is nil or what the job failed with.
	record func(result R, err error)
	// locked tells everybody that the repository is locked, with the error that says by whom.
	locked func(ctx context.Context, err error) error
}

// advance looks at the operation and its job, and moves both on. The status it leaves must be saved by the caller.
func (l *lifecycle[R]) advance(
	ctx context.Context, key string, operation resticv1.VolumeOperation, do steps[R],
) (ctrl.Result, error) {
	status := operation.VolumeStatus()
	if status.Phase.Final() {
		l.drop(key, errEnded())
		return ctrl.Result{}, nil
	}
	if operation.GetDeletionTimestamp() != nil {
		l.drop(key, errObjectGone())
		return ctrl.Result{}, nil
	}
	stop := l.reasonToStop(operation)
	state, found := l.jobs.State(key)
	switch {
	case !found && stop != nil:
		l.finish(status, resticv1.PhaseCanceled, stop.Error())
		return ctrl.Result{}, nil
	case !found:
		return l.start(ctx, key, status, do)
	case state.Phase == transfer.Done:
		return l.complete(ctx, key, operation, state, do)
	case stop != nil:
		l.jobs.Cancel(key, stop)
	}
	l.observe(status, state.Phase, state.Progress)
	return ctrl.Result{RequeueAfter: l.progressInterval}, nil
}

// drop ends the job of an operation that needs none any more.
func (l *lifecycle[R]) drop(key string, cause error) {
	l.jobs.Cancel(key, cause)
	l.jobs.Remove(key)
}

func (l *lifecycle[R]) reasonToStop(operation resticv1.VolumeOperation) error {
	deadline := operation.Deadline()
	switch {
	case operation.CancelRequested():
		return errCancelRequested()
	case !deadline.IsZero() && l.clock.Now().After(deadline.Time):
		return &stopError{fmt.Sprintf("not done by its deadline, %s after it was created: raise "+
			"--item-operation-timeout of the Velero backup or restore if it needs longer",
			deadline.Sub(operation.GetCreationTimestamp().Time).Round(time.Second))}
	}
	return nil
}

func (l *lifecycle[R]) start(
	ctx context.Context, key string, status *resticv1.VolumeStatus, do steps[R],
) (ctrl.Result, error) {
	if status.Attempts >= maxAttempts {
		l.finish(status, resticv1.PhaseFailed, fmt.Sprintf("given up after %d attempts, since the agent was restarted "+
			"during each: `kubectl describe` its pod, of DaemonSet restic, for the reason", status.Attempts))
		return ctrl.Result{}, nil
	}
	if rest := l.restBeforeRetry(status); rest > 0 {
		return ctrl.Result{RequeueAfter: rest}, nil
	}
	next, err := do.prepare(ctx)
	switch {
	case err != nil:
		return ctrl.Result{}, err
	case next.fail != "":
		l.finish(status, resticv1.PhaseFailed, next.fail)
		return ctrl.Result{}, nil
	case next.wait != "":
		l.wait(status, next.wait)
		return ctrl.Result{RequeueAfter: waitInterval}, nil
	case l.jobs.Held(next.exclusive):
		l.wait(status, "waiting for another pod's restore of the same claim")
		return ctrl.Result{RequeueAfter: waitInterval}, nil
	}
	return l.submit(ctx, key, status, next, do)
}

// submit counts the attempt, saves that, and queues the job.
func (l *lifecycle[R]) submit(
	ctx context.Context, key string, status *resticv1.VolumeStatus, next plan[R], do steps[R],
) (ctrl.Result, error) {
	status.Attempts++
	l.takeOver(status)
	l.wait(status, "waiting for its turn on the node")
	if err := do.save(ctx); err != nil {
		return ctrl.Result{}, err
	}
	if next.confirm != nil {
		wait, retry, err := next.confirm(ctx)
		if err != nil || wait != "" {
			status.Attempts--
			l.wait(status, wait)
			return ctrl.Result{RequeueAfter: retry}, errors.Join(err, do.save(ctx))
		}
	}
	err := l.jobs.Submit(key, next.exclusive, maxRunTime, next.work)
	return ctrl.Result{RequeueAfter: l.progressInterval}, err
}

// takeOver notes that this agent has the operation now.
func (l *lifecycle[R]) takeOver(status *resticv1.VolumeStatus) {
	if status.Agent != "" && status.Agent != l.agent {
		former := append(status.FormerAgents, status.Agent)
		status.FormerAgents = former[max(0, len(former)-resticv1.MaxFormerAgents):]
	}
	status.Agent = l.agent
}

// maxRunTime bounds a single run of restic whose object has no timeout of its own.
const maxRunTime = 7 * 24 * time.Hour

func (l *lifecycle[R]) wait(status *resticv1.VolumeStatus, message string) {
	if status.Phase == "" {
		status.Phase = resticv1.PhaseNew
	}
	status.Message = message
	l.beat(status)
}

func (l *lifecycle[R]) observe(status *resticv1.VolumeStatus, phase transfer.Phase, progress transfer.Progress) {
	if phase == transfer.Running && status.Phase != resticv1.PhaseInProgress {
		status.Phase, status.Message = resticv1.PhaseInProgress, ""
		if status.StartTimestamp == nil {
			status.StartTimestamp = l.now()
		}
	}
	moved := resticv1.VolumeProgress{TotalBytes: progress.TotalBytes, BytesDone: progress.BytesDone}
	if moved != status.Progress && progress != (transfer.Progress{}) {
		status.Progress = moved
		status.HeartbeatTimestamp = l.now()
	}
	l.beat(status)
}

// complete writes a job's outcome into the status. The job is kept until that is saved: it is the only one who knows.
func (l *lifecycle[R]) complete(
	ctx context.Context, key string, operation resticv1.VolumeOperation, state transfer.State[R], do steps[R],
) (ctrl.Result, error) {
	status := operation.VolumeStatus()
	if errors.Is(state.Err, transfer.ErrStopping) {
		return ctrl.Result{}, nil
	}
	if status.StartTimestamp == nil {
		status.StartTimestamp = l.now()
	}
	switch {
	case errors.Is(state.Err, restic.ErrLocked) && !impatient(operation, l.clock):
		// Somebody else's work is no attempt of this one.
		status.Attempts--
		status.Phase, status.Message = resticv1.PhaseNew, "waiting: "+blockedMessage(state.Err, l.clock.Now())
		status.HeartbeatTimestamp = l.now()
		if err := do.locked(ctx, state.Err); err != nil {
			return ctrl.Result{}, err
		}
	case transient(state.Err) && status.Attempts < maxAttempts:
		status.Phase = resticv1.PhaseNew
		status.Message = fmt.Sprintf("attempt %d of %d: %s", status.Attempts, maxAttempts, state.Err)
		status.HeartbeatTimestamp = l.now()
	default:
		do.record(state.Result, state.Err)
		l.conclude(status, state.Err)
	}
	if err := do.save(ctx); err != nil {
		return ctrl.Result{}, err
	}
	l.jobs.Remove(key)
	if status.Phase == resticv1.PhaseNew {
		return ctrl.Result{RequeueAfter: max(l.restBeforeRetry(status), waitInterval)}, nil
	}
	return ctrl.Result{}, nil
}

func (l *lifecycle[R]) conclude(status *resticv1.VolumeStatus, err error) {
	var stop *stopError
	switch {
	case err == nil:
		l.finish(status, resticv1.PhaseCompleted, "")
	case errors.As(err, &stop):
		l.finish(status, resticv1.PhaseCanceled, stop.Error())
	default:
		l.finish(status, resticv1.PhaseFailed, err.Error())
	}
}

// transient says whether another attempt may go better without anybody's doing: restic was ended by somebody else than
// this agent.
func transient(err error) bool {
	var stop *stopError
	if errors.As(err, &stop) {
		return false
	}
	return errors.Is(err, restic.ErrKilled) || errors.Is(err, restic.ErrCanceled)
}

// restBeforeRetry spaces the attempts of an operation: the more there were, the longer. The heartbeat is that of the
// last attempt's end.
func (l *lifecycle[R]) restBeforeRetry(status *resticv1.VolumeStatus) time.Duration {
	begun := status.Attempts > 0 || status.StartTimestamp != nil
	if !begun || status.Phase != resticv1.PhaseNew || status.HeartbeatTimestamp == nil {
		return 0
	}
	rest := time.Duration(max(status.Attempts, 1)) * waitInterval
	return max(0, rest-l.clock.Since(status.HeartbeatTimestamp.Time))
}

func (l *lifecycle[R]) finish(status *resticv1.VolumeStatus, phase resticv1.VolumePhase, message string) {
	finish(status, phase, message, l.clock)
}

func finish(status *resticv1.VolumeStatus, phase resticv1.VolumePhase, message string, clock clock.PassiveClock) {
	now := metav1.NewTime(clock.Now())
	status.Phase, status.Message, status.CompletionTimestamp = phase, message, &now
}

// beat renews the heartbeat when it is due, so that a status that says nothing new is not written each time.
func (l *lifecycle[R]) beat(status *resticv1.VolumeStatus) {
	if last := status.HeartbeatTimestamp; last == nil || l.clock.Since(last.Time) >= heartbeatInterval {
		status.HeartbeatTimestamp = l.now()
	}
}

func (l *lifecycle[R]) now() *metav1.Time {
	now := metav1.NewTime(l.clock.Now())
	return &now
}
