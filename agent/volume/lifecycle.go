// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package volume has the life cycle that PodVolumeBackups and PodVolumeRestores share. It starts no process and touches
// no file: package transfer does, beside the workers. Every decision depends on the object only, so that an agent that
// is restarted continues where the last one was killed.
package volume

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/velero-restic/velero-plugin-for-restic/agent/occupied"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/agent/waiting"
	"github.com/velero-restic/velero-plugin-for-restic/agent/worker"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

const (
	// MaxAttempts is how often a transfer is started when it ends through no fault of the volume: its agent was
	// killed, or restic was.
	MaxAttempts = 3
	// HeartbeatInterval is how often a transfer says that it is alive, without having moved.
	HeartbeatInterval = 30 * time.Second
	// WaitInterval is how soon something that is waited for is looked at again, if no event comes before.
	WaitInterval = 5 * time.Second
)

// stopError is why this agent stops a transfer.
type stopError struct{ reason string }

// Error implements error.
func (e *stopError) Error() string { return e.reason }

const CanceledOnRequest = "canceled on request"

func errCancelRequested() error { return &stopError{CanceledOnRequest} }
func ErrObjectGone() error      { return &stopError{worker.ErrObjectGone.Error()} }
func ErrEnded() error           { return &stopError{"it was ended by somebody else"} }

// Plan is what a reconciler has found out about an operation that has not been started: exactly one of wait, fail and
// work is set.
type Plan[R any] struct {
	// Wait is what the operation waits for.
	Wait waiting.Cause
	// Fail says why the operation cannot succeed.
	Fail string
	// Work does it. No two operations with the same exclusive key are done at once.
	Work      transfer.Work[R]
	Exclusive string
	// Confirm is called after the attempt was saved. It returns what to wait for, and for how long, if another agent
	// has started the same. It is nil if no other agent can.
	Confirm func(ctx context.Context) (wait waiting.Cause, retry time.Duration, err error)
}

// Lifecycle takes an operation from New to a final phase, with a job of the pool.
type Lifecycle[R any] struct {
	// Agent is the name of this agent's pod.
	Agent            string
	Jobs             *transfer.Pool[R]
	Clock            clock.PassiveClock
	ProgressInterval time.Duration
}

// Steps are what backups and restores do differently.
type Steps[R any] struct {
	// Prepare is called while there is no job. It may leave a plan for later by wait.
	Prepare func(ctx context.Context) (Plan[R], error)
	// Save writes the status to the API server. It is called before the job starts, so that an attempt which is
	// killed has been counted.
	Save func(ctx context.Context) error
	// Record writes a job's outcome into the status; err is nil or what the job failed with.
	Record func(result R, err error)
	// Locked tells everybody that the repository is locked, with the error that says by whom.
	Locked func(ctx context.Context, err error) error
}

// Advance looks at the operation and its job, and moves both on. The status it leaves must be saved by the caller.
func (l *Lifecycle[R]) Advance(
	ctx context.Context, key string, operation resticv1.VolumeOperation, do Steps[R],
) (ctrl.Result, error) {
	status := operation.VolumeStatus()
	if status.Phase.Final() {
		l.Drop(key, ErrEnded())
		return ctrl.Result{}, nil
	}
	if operation.GetDeletionTimestamp() != nil {
		l.Drop(key, ErrObjectGone())
		return ctrl.Result{}, nil
	}
	stop := l.StopReason(operation)
	state, found := l.Jobs.State(key)
	switch {
	case !found && stop != nil:
		l.Finish(status, resticv1.PhaseCanceled, stop.Error())
		return ctrl.Result{}, nil
	case !found:
		return l.start(ctx, key, status, do)
	case state.Phase == transfer.Done:
		return l.complete(ctx, key, operation, state, do)
	case stop != nil:
		l.Jobs.Cancel(key, stop)
	}
	l.observe(status, state.Phase, state.Progress)
	return ctrl.Result{RequeueAfter: l.ProgressInterval}, nil
}

// Drop ends the job of an operation that needs none any more.
func (l *Lifecycle[R]) Drop(key string, cause error) {
	l.Jobs.Cancel(key, cause)
	l.Jobs.Remove(key)
}

func (l *Lifecycle[R]) StopReason(operation resticv1.VolumeOperation) error {
	deadline := operation.Deadline()
	switch {
	case operation.CancelRequested():
		return errCancelRequested()
	case !deadline.IsZero() && l.Clock.Now().After(deadline.Time):
		return &stopError{fmt.Sprintf("not done by its deadline, %s after it was created: raise "+
			"--item-operation-timeout of the Velero backup or restore if it needs longer",
			deadline.Sub(operation.GetCreationTimestamp().Time).Round(time.Second))}
	}
	return nil
}

func (l *Lifecycle[R]) start(
	ctx context.Context, key string, status *resticv1.VolumeStatus, do Steps[R],
) (ctrl.Result, error) {
	if status.Attempts >= MaxAttempts {
		l.Finish(status, resticv1.PhaseFailed, fmt.Sprintf("given up after %d attempts, since the agent was restarted "+
			"during each: `kubectl describe` its pod, of DaemonSet restic, for the reason", status.Attempts))
		return ctrl.Result{}, nil
	}
	if delay := l.retryDelay(status); delay > 0 {
		return ctrl.Result{RequeueAfter: delay}, nil
	}
	next, err := do.Prepare(ctx)
	switch {
	case err != nil:
		return ctrl.Result{}, err
	case next.Fail != "":
		l.Finish(status, resticv1.PhaseFailed, next.Fail)
		return ctrl.Result{}, nil
	case !next.Wait.None():
		l.Wait(status, next.Wait)
		return ctrl.Result{RequeueAfter: WaitInterval}, nil
	case l.Jobs.Held(next.Exclusive):
		l.Wait(status, waiting.Cause{
			Reason: resticv1.WaitingForSiblingRestore, Message: "another pod's restore of the same claim is running",
		})
		return ctrl.Result{RequeueAfter: WaitInterval}, nil
	}
	return l.submit(ctx, key, status, next, do)
}

// submit counts the attempt, saves that, and queues the job.
func (l *Lifecycle[R]) submit(
	ctx context.Context, key string, status *resticv1.VolumeStatus, next Plan[R], do Steps[R],
) (ctrl.Result, error) {
	status.Attempts++
	l.takeOver(status)
	l.Wait(status, waiting.Cause{Reason: resticv1.WaitingForSlot, Message: "queued on the node"})
	if err := do.Save(ctx); err != nil {
		return ctrl.Result{}, err
	}
	if next.Confirm != nil {
		wait, retry, err := next.Confirm(ctx)
		if err != nil || !wait.None() {
			status.Attempts--
			l.Wait(status, wait)
			return ctrl.Result{RequeueAfter: retry}, errors.Join(err, do.Save(ctx))
		}
	}
	err := l.Jobs.Submit(key, next.Exclusive, maxRunTime, next.Work)
	return ctrl.Result{RequeueAfter: l.ProgressInterval}, err
}

// takeOver notes that this agent has the operation now.
func (l *Lifecycle[R]) takeOver(status *resticv1.VolumeStatus) {
	if status.Agent != "" && status.Agent != l.Agent {
		former := append(status.FormerAgents, status.Agent)
		status.FormerAgents = former[max(0, len(former)-resticv1.MaxFormerAgents):]
	}
	status.Agent = l.Agent
}

// maxRunTime bounds a single run of restic whose object has no timeout of its own.
const maxRunTime = 7 * 24 * time.Hour

// Wait writes into the status what the operation waits for.
func (l *Lifecycle[R]) Wait(status *resticv1.VolumeStatus, cause waiting.Cause) {
	if status.Phase == "" {
		status.Phase = resticv1.PhaseNew
	}
	status.Reason, status.Message = cause.Reason, cause.Message
	l.updateHeartbeat(status)
}

func (l *Lifecycle[R]) observe(status *resticv1.VolumeStatus, phase transfer.Phase, progress transfer.Progress) {
	if phase == transfer.Running && status.Phase != resticv1.PhaseInProgress {
		status.Phase, status.Reason, status.Message = resticv1.PhaseInProgress, "", ""
		if status.StartTimestamp == nil {
			status.StartTimestamp = l.now()
		}
	}
	moved := resticv1.VolumeProgress{TotalBytes: progress.TotalBytes, BytesDone: progress.BytesDone}
	if moved != status.Progress && progress != (transfer.Progress{}) {
		status.Progress = moved
		status.HeartbeatTimestamp = l.now()
	}
	l.updateHeartbeat(status)
}

// complete writes a job's outcome into the status. The job is kept until that is saved: it is the only one who knows.
func (l *Lifecycle[R]) complete(
	ctx context.Context, key string, operation resticv1.VolumeOperation, state transfer.State[R], do Steps[R],
) (ctrl.Result, error) {
	status := operation.VolumeStatus()
	if errors.Is(state.Err, transfer.ErrStopping) {
		return ctrl.Result{}, nil
	}
	if status.StartTimestamp == nil {
		status.StartTimestamp = l.now()
	}
	switch {
	case errors.Is(state.Err, restic.ErrLocked) && !waitedTooLong(operation, l.Clock):
		// Somebody else's work is no attempt of this one.
		status.Attempts--
		status.Phase, status.Reason = resticv1.PhaseNew, resticv1.WaitingForLock
		status.Message = occupied.BlockedMessage(state.Err, l.Clock.Now())
		status.HeartbeatTimestamp = l.now()
		if err := do.Locked(ctx, state.Err); err != nil {
			return ctrl.Result{}, err
		}
	case transient(state.Err) && status.Attempts < MaxAttempts:
		status.Phase, status.Reason = resticv1.PhaseNew, resticv1.WaitingForRetry
		status.Message = fmt.Sprintf("attempt %d of %d: %s", status.Attempts, MaxAttempts, state.Err)
		status.HeartbeatTimestamp = l.now()
	default:
		do.Record(state.Result, state.Err)
		l.conclude(status, state.Err)
	}
	if err := do.Save(ctx); err != nil {
		return ctrl.Result{}, err
	}
	l.Jobs.Remove(key)
	if status.Phase == resticv1.PhaseNew {
		return ctrl.Result{RequeueAfter: max(l.retryDelay(status), WaitInterval)}, nil
	}
	return ctrl.Result{}, nil
}

func (l *Lifecycle[R]) conclude(status *resticv1.VolumeStatus, err error) {
	var stop *stopError
	switch {
	case err == nil:
		l.Finish(status, resticv1.PhaseCompleted, "")
	case errors.As(err, &stop):
		l.Finish(status, resticv1.PhaseCanceled, stop.Error())
	default:
		l.Finish(status, resticv1.PhaseFailed, err.Error())
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

// retryDelay spaces the attempts of an operation: the more there were, the longer. The heartbeat is that of the
// last attempt's end.
func (l *Lifecycle[R]) retryDelay(status *resticv1.VolumeStatus) time.Duration {
	started := status.Attempts > 0 || status.StartTimestamp != nil
	if !started || status.Phase != resticv1.PhaseNew || status.HeartbeatTimestamp == nil {
		return 0
	}
	delay := time.Duration(max(status.Attempts, 1)) * WaitInterval
	return max(0, delay-l.Clock.Since(status.HeartbeatTimestamp.Time))
}

func Finish(status *resticv1.VolumeStatus, phase resticv1.VolumePhase, message string, clock clock.PassiveClock) {
	now := metav1.NewTime(clock.Now())
	status.Phase, status.Reason, status.Message, status.CompletionTimestamp = phase, "", message, &now
}

// updateHeartbeat renews the heartbeat when it is due, so that a status that says nothing new is not written each time.
func (l *Lifecycle[R]) updateHeartbeat(status *resticv1.VolumeStatus) {
	if last := status.HeartbeatTimestamp; last == nil || l.Clock.Since(last.Time) >= HeartbeatInterval {
		status.HeartbeatTimestamp = l.now()
	}
}

func (l *Lifecycle[R]) now() *metav1.Time {
	now := metav1.NewTime(l.Clock.Now())
	return &now
}
