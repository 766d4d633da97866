// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrBusy is returned by Start when another job holds the same exclusive key.
var ErrBusy = errors.New("another job holds the same volume")

// ErrStopping is the cause with which jobs are canceled when the process ends. Such a job left its work undone for
// the next process to take up; it did not fail.
var ErrStopping = errors.New("agent is stopping")

// Phase is how far a job has come.
type Phase int

const (
	// Queued waits for a free place.
	Queued Phase = iota
	// Running is at work.
	Running
	// Done has a result.
	Done
)

// Progress counts bytes.
type Progress struct {
	// BytesDone of TotalBytes are done; TotalBytes is 0 while unknown.
	BytesDone, TotalBytes int64
}

// Work is what a job does. It returns when the context ends, and may call report as often as it likes, from one
// goroutine at a time.
type Work[R any] func(ctx context.Context, report func(Progress)) (R, error)

// State is a job as it was when asked for. Result and Err are set once it is Done.
type State[R any] struct {
	Phase    Phase
	Progress Progress
	Result   R
	Err      error
}

// Pool runs jobs, a limited number at a time, each under a key. The oldest waiting job goes first.
// It must be started once with Start, which makes it a manager.Runnable.
type Pool[R any] struct {
	limit   int
	changed func(key string)

	mu      sync.Mutex
	jobs    map[string]*job[R]
	queue   []*job[R]
	running int
	started bool
	group   sync.WaitGroup
}

type job[R any] struct {
	key, exclusive string
	work           Work[R]
	cancel         context.CancelCauseFunc
	ctx            context.Context //nolint:containedctx // a job's own, made when it is queued
	state          State[R]
}

// NewPool returns a pool that runs up to limit jobs at a time, at least one. It calls changed whenever a job starts
// to run or is done, from the job's goroutine and without holding any lock.
func NewPool[R any](limit int, changed func(key string)) *Pool[R] {
	return &Pool[R]{limit: max(limit, 1), changed: changed, jobs: map[string]*job[R]{}}
}

// Start runs jobs until the context ends, cancels those that are left with ErrStopping as the cause, and returns
// when the last has returned. It never fails.
func (p *Pool[R]) Start(ctx context.Context) error {
	p.mu.Lock()
	p.started = true
	ready := p.takeReady()
	p.mu.Unlock()
	p.launch(ready)

	<-ctx.Done()
	p.mu.Lock()
	p.queue = nil
	for _, j := range p.jobs {
		j.cancel(ErrStopping)
	}
	p.limit = 0
	p.mu.Unlock()
	p.group.Wait()
	return nil
}

// Held says whether a job holds the exclusive key: from when it is submitted until it is removed.
func (p *Pool[R]) Held(exclusive string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held(exclusive)
}

func (p *Pool[R]) held(exclusive string) bool {
	for _, j := range p.jobs {
		if exclusive != "" && j.exclusive == exclusive {
			return true
		}
	}
	return false
}

// Submit queues a job under a key that no other job has, to be run no longer than timeout. Of the jobs with the same
// non-empty exclusive key only one exists at a time. It returns ErrBusy when another job holds that key, and an error
// when the key is taken.
func (p *Pool[R]) Submit(key, exclusive string, timeout time.Duration, work Work[R]) error {
	p.mu.Lock()
	if _, taken := p.jobs[key]; taken {
		p.mu.Unlock()
		return fmt.Errorf("a job with key %s exists", key)
	}
	if p.held(exclusive) {
		p.mu.Unlock()
		return ErrBusy
	}
	// A job outlives the reconcile that submits it: it ends by Cancel, by its deadline, or with Start.
	ctx, cancel := context.WithCancelCause(context.Background()) //nolint:forbidigo // see above
	j := &job[R]{key: key, exclusive: exclusive, work: bounded(timeout, work), ctx: ctx, cancel: cancel}
	p.jobs[key] = j
	p.queue = append(p.queue, j)
	ready := p.takeReady()
	p.mu.Unlock()
	p.launch(ready)
	return nil
}

// State returns the job of that key; false if there is none.
func (p *Pool[R]) State(key string) (State[R], bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j, found := p.jobs[key]
	if !found {
		return State[R]{}, false
	}
	return j.state, true
}

// Cancel ends the job of that key with cause as the cause of its context. A job that still waits is done at once with
// that error. It does nothing if there is no such job, or if it is done.
func (p *Pool[R]) Cancel(key string, cause error) {
	p.mu.Lock()
	j, found := p.jobs[key]
	if !found || j.state.Phase == Done {
		p.mu.Unlock()
		return
	}
	j.cancel(cause)
	waiting := p.dequeue(j)
	if waiting {
		j.state.Phase, j.state.Err = Done, cause
	}
	p.mu.Unlock()
	if waiting {
		p.changed(key)
	}
}

// Remove forgets a job that is done. It does nothing to another.
func (p *Pool[R]) Remove(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if j, found := p.jobs[key]; found && j.state.Phase == Done {
		delete(p.jobs, key)
	}
}

// Count returns how many jobs run and how many wait.
func (p *Pool[R]) Count() (running, queued int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running, len(p.queue)
}

// takeReady takes as many jobs off the queue as there are free places. The caller holds the lock.
func (p *Pool[R]) takeReady() []*job[R] {
	if !p.started {
		return nil
	}
	var ready []*job[R]
	for p.running < p.limit && len(p.queue) > 0 {
		j := p.queue[0]
		p.queue = p.queue[1:]
		j.state.Phase = Running
		p.running++
		p.group.Add(1)
		ready = append(ready, j)
	}
	return ready
}

func (p *Pool[R]) launch(ready []*job[R]) {
	for _, j := range ready {
		go p.run(j)
	}
}

func (p *Pool[R]) run(j *job[R]) {
	defer p.group.Done()
	p.changed(j.key)
	result, err := j.work(j.ctx, func(progress Progress) {
		p.mu.Lock()
		j.state.Progress = progress
		p.mu.Unlock()
	})
	j.cancel(nil)

	p.mu.Lock()
	j.state.Phase, j.state.Result, j.state.Err = Done, result, err
	p.running--
	ready := p.takeReady()
	p.mu.Unlock()
	p.launch(ready)
	p.changed(j.key)
}

func (p *Pool[R]) dequeue(j *job[R]) bool {
	for i, waiting := range p.queue {
		if waiting == j {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			return true
		}
	}
	return false
}

// bounded gives the work a deadline, counted from when it starts to run.
func bounded[R any](timeout time.Duration, work Work[R]) Work[R] {
	return func(ctx context.Context, report func(Progress)) (R, error) {
		ctx, cancel := context.WithTimeoutCause(ctx, timeout,
			fmt.Errorf("not done within %s", timeout.Round(time.Second)))
		defer cancel()
		result, err := work(ctx, report)
		cause := context.Cause(ctx)
		ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
		if ended && cause != nil && !errors.Is(err, cause) {
			// What was under way, such as a request to the API server, knows that the context has ended, and not why.
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return result, err
	}
}
