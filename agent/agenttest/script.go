// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package agenttest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// Script is a transfer's work under the control of a test: Q is what it is asked for, R its outcome.
type Script[Q, R any] struct {
	mu sync.Mutex
	// Asked are the requests so far.
	Asked []Q
	// Report is that of the newest request.
	Report  func(transfer.Progress)
	answers chan func() (R, error)
	// Stubborn work returns no sooner than it is answered.
	Stubborn bool
}

func NewScript[Q, R any]() *Script[Q, R] {
	return &Script[Q, R]{answers: make(chan func() (R, error), 10)}
}

// Run is like the methods of transfer.Mover: it ends when it is answered, or when its context does.
func (s *Script[Q, R]) Run(ctx context.Context, request Q, report func(transfer.Progress)) (R, error) {
	s.mu.Lock()
	s.Asked, s.Report = append(s.Asked, request), report
	s.mu.Unlock()
	done := ctx.Done()
	if s.Stubborn {
		done = nil
	}
	select {
	case answer := <-s.answers:
		return answer()
	case <-done:
		var none R
		return none, errors.Join(restic.ErrCanceled, context.Cause(ctx))
	}
}

// Answer ends the work that runs, or the next one.
func (s *Script[Q, R]) Answer(result R, err error) {
	s.answers <- func() (R, error) { return result, err }
	synctest.Wait()
}

// StartPool runs a pool until the test ends, or until stop is called.
func StartPool[R any](t *testing.T, limit int) (pool *transfer.Pool[R], stop func()) {
	t.Helper()
	pool = transfer.NewPool[R](limit, func(string) {})
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- pool.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Errorf("the pool ended with %v", err)
		}
	})
	t.Cleanup(stop)
	synctest.Wait()
	return pool, stop
}
