// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"
)

// turns decides when a test may begin. The limit of `go test -parallel` alone would let tests that wait for the
// reserved cluster take the places of tests that could run.
type turns struct {
	// sharing has a place for each test that shares a cluster, extras for each that starts clusters of its own.
	sharing, extras chan struct{}
	// reserving is the place of the test that reserves a cluster.
	reserving sync.RWMutex
	// oneCluster is whether tests that reserve and tests that share have the same cluster.
	oneCluster bool

	mu   sync.Mutex
	took []turn
}

// turn is how long a test waited for its turn and then ran.
type turn struct {
	test         string
	waited, took time.Duration
}

// newTurns lets so many tests share a cluster at a time.
func newTurns(limit int, oneCluster bool) *turns {
	return &turns{sharing: make(chan struct{}, limit), extras: make(chan struct{}, 2), oneCluster: oneCluster}
}

// share waits for a place among the tests that share a cluster. The cleanup of the test gives it back.
func (u *turns) share(t *testing.T) {
	t.Helper()
	if u.oneCluster {
		u.reserving.RLock()
		t.Cleanup(u.reserving.RUnlock)
	}
	u.sharing <- struct{}{}
	t.Cleanup(func() { <-u.sharing })
}

// reserve waits until no other test has the reserved cluster.
func (u *turns) reserve(t *testing.T) {
	t.Helper()
	u.reserving.Lock()
	t.Cleanup(u.reserving.Unlock)
}

// extra waits for a place among the tests that start clusters of their own. Each cluster takes a gigabyte of memory.
func (u *turns) extra(t *testing.T) {
	t.Helper()
	u.extras <- struct{}{}
	t.Cleanup(func() { <-u.extras })
}

// measure records how long the test runs from now on, and how long it has waited since it asked for its turn.
func (u *turns) measure(t *testing.T, asked time.Time) {
	t.Helper()
	began := time.Now()
	t.Cleanup(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.took = append(u.took, turn{test: t.Name(), waited: began.Sub(asked), took: time.Since(began)})
	})
}

// report prints how long each test ran, the longest first: go test counts the wait for a turn as well.
func (u *turns) report(out io.Writer) {
	slices.SortFunc(u.took, func(a, b turn) int { return cmp.Compare(b.took, a.took) })
	fmt.Fprintln(out, "\nseconds  after a wait of  test")
	for _, one := range u.took {
		fmt.Fprintf(out, "%7.1f  %15.1f  %s\n", one.took.Seconds(), one.waited.Seconds(), one.test)
	}
}
