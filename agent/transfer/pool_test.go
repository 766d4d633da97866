// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
)

const long = time.Hour

var errReason = errors.New("the reason")

// bench is a pool at work in a bubble of synctest, and what its jobs have seen. A goroutine that the pool leaves behind
// fails the test by itself.
type bench struct {
	*transfer.Pool[string]

	t    *testing.T
	stop func()

	mu      sync.Mutex
	started []string
	running int
	most    int
	changes map[string]int
	release map[string]chan error
}

func newBench(t *testing.T, limit int) *bench {
	t.Helper()
	b := &bench{t: t, changes: map[string]int{}, release: map[string]chan error{}}
	b.Pool = transfer.NewPool[string](limit, func(key string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.changes[key]++
	})
	return b
}

// start runs the pool until the test ends, or until stop is called.
func (b *bench) start() {
	ctx, cancel := context.WithCancel(b.t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- b.Start(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-stopped; err != nil {
			b.t.Errorf("Start ended with %v", err)
		}
	})
	b.t.Cleanup(b.stop)
	synctest.Wait()
}

// submit queues a job that lasts until finish is called for it, or until it is to stop.
func (b *bench) submit(key, exclusive string, timeout time.Duration) {
	b.t.Helper()
	if err := b.Submit(key, exclusive, timeout, b.work(key)); err != nil {
		b.t.Fatalf("submitting %s: %v", key, err)
	}
	synctest.Wait()
}

func (b *bench) work(key string) transfer.Work[string] {
	release := make(chan error, 1)
	b.mu.Lock()
	b.release[key] = release
	b.mu.Unlock()
	return func(ctx context.Context, report func(transfer.Progress)) (string, error) {
		b.enter(key)
		defer b.leave()
		report(transfer.Progress{BytesDone: 1, TotalBytes: 2})
		select {
		case err := <-release:
			return "result of " + key, err
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

func (b *bench) enter(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.started = append(b.started, key)
	b.running++
	b.most = max(b.most, b.running)
}

func (b *bench) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running--
}

func (b *bench) finish(key string, err error) {
	b.release[key] <- err
	synctest.Wait()
}

func (b *bench) wantState(key string, phase transfer.Phase) transfer.State[string] {
	b.t.Helper()
	state, found := b.State(key)
	if !found || state.Phase != phase {
		b.t.Fatalf("job %s: found %t, phase %d, err %v; want phase %d", key, found, state.Phase, state.Err, phase)
	}
	return state
}

func (b *bench) wantStarted(keys ...string) {
	b.t.Helper()
	if diff := cmp.Diff(keys, b.started); diff != "" {
		b.t.Fatalf("jobs started, in order (-want +got):\n%s", diff)
	}
}

func (b *bench) wantCount(running, queued int) {
	b.t.Helper()
	if r, q := b.Count(); r != running || q != queued {
		b.t.Fatalf("%d jobs run and %d wait, want %d and %d", r, q, running, queued)
	}
}

func TestPool(t *testing.T) {
	cases := map[string]func(t *testing.T, b *bench){
		"the oldest waiting job goes first, and no more than the limit run at a time": func(t *testing.T, b *bench) {
			b.start()
			for i := range 5 {
				b.submit(fmt.Sprint(i), "", long)
			}
			b.wantStarted("0", "1")
			b.wantCount(2, 3)
			b.finish("1", nil)
			b.finish("0", nil)
			b.wantStarted("0", "1", "2", "3")
			for _, key := range []string{"2", "3", "4"} {
				b.finish(key, nil)
			}
			b.wantStarted("0", "1", "2", "3", "4")
			if b.most != 2 {
				t.Errorf("%d jobs ran at the same time, want 2", b.most)
			}
			b.wantCount(0, 0)
		},
		"jobs that come before Start wait for it": func(_ *testing.T, b *bench) {
			b.submit("early", "", long)
			b.wantState("early", transfer.Queued)
			b.start()
			b.wantState("early", transfer.Running)
		},
		"a job tells its progress while it runs, and its result once it is done": func(t *testing.T, b *bench) {
			b.start()
			b.submit("a", "", long)
			if got := b.wantState("a", transfer.Running).Progress; got != (transfer.Progress{BytesDone: 1, TotalBytes: 2}) {
				t.Errorf("progress is %+v", got)
			}
			b.finish("a", errReason)
			if got := b.wantState("a", transfer.Done); got.Result != "result of a" || !errors.Is(got.Err, errReason) {
				t.Errorf("done with %q and %v", got.Result, got.Err)
			}
		},
		"who waits for a job is told when it starts to run and when it is done": func(t *testing.T, b *bench) {
			b.start()
			b.submit("a", "", long)
			if b.changes["a"] != 1 {
				t.Errorf("told %d times of the start, want once", b.changes["a"])
			}
			b.finish("a", nil)
			if b.changes["a"] != 2 {
				t.Errorf("told %d times at the end, want twice", b.changes["a"])
			}
		},
		"a key that is taken is refused by name, also for a job that is done": func(t *testing.T, b *bench) {
			b.start()
			b.submit("velero/pvb-1", "", long)
			for _, phase := range []transfer.Phase{transfer.Running, transfer.Done} {
				b.wantState("velero/pvb-1", phase)
				err := b.Submit("velero/pvb-1", "", long, b.work("other"))
				if err == nil || errors.Is(err, transfer.ErrBusy) || !strings.Contains(err.Error(), "velero/pvb-1") {
					t.Errorf("the second job of that key got %v", err)
				}
				if phase == transfer.Running {
					b.finish("velero/pvb-1", nil)
				}
			}
			b.Remove("velero/pvb-1")
			b.submit("velero/pvb-1", "", long)
		},
		"an exclusive key is held while its job waits or runs": func(t *testing.T, b *bench) {
			b.submit("a", "claim", long)
			if err := b.Submit("b", "claim", long, b.work("b")); !errors.Is(err, transfer.ErrBusy) {
				t.Fatalf("beside one that waits: %v, want ErrBusy", err)
			}
			b.start()
			if err := b.Submit("b", "claim", long, b.work("b")); !errors.Is(err, transfer.ErrBusy) {
				t.Fatalf("beside one that runs: %v, want ErrBusy", err)
			}
			if _, found := b.State("b"); found {
				t.Error("a job that was refused is kept")
			}
			b.finish("a", nil)
			b.Remove("a")
			b.submit("b", "claim", long)
			b.submit("c", "other claim", long)
			b.wantCount(2, 0)
		},
		"the empty exclusive key excludes nobody": func(_ *testing.T, b *bench) {
			b.start()
			b.submit("a", "", long)
			b.submit("b", "", long)
			b.wantCount(2, 0)
		},
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { run(t, newBench(t, 2)) })
		})
	}
}

func TestPoolEnds(t *testing.T) {
	cases := map[string]func(t *testing.T, b *bench){
		"a job canceled while it waits is done at once with the cause, and never runs": func(t *testing.T, b *bench) {
			b.start()
			b.submit("a", "", long)
			b.submit("b", "", long)
			b.submit("c", "", long)
			b.Cancel("b", errReason)
			if got := b.wantState("b", transfer.Done).Err; !errors.Is(got, errReason) {
				t.Errorf("ended with %v", got)
			}
			if b.changes["b"] != 1 {
				t.Errorf("told %d times, want once", b.changes["b"])
			}
			b.finish("a", nil)
			b.wantStarted("a", "c")
		},
		"a job canceled while it runs sees the cause, and makes room once it has returned": func(t *testing.T, b *bench) {
			b.start()
			b.submit("a", "", long)
			b.submit("b", "", long)
			b.Cancel("a", errReason)
			synctest.Wait()
			if got := b.wantState("a", transfer.Done).Err; !errors.Is(got, errReason) {
				t.Errorf("ended with %v", got)
			}
			b.wantState("b", transfer.Running)
		},
		"the first cause counts": func(t *testing.T, b *bench) {
			b.start()
			b.submit("a", "", long)
			b.Cancel("a", errReason)
			b.Cancel("a", errors.New("another"))
			synctest.Wait()
			if got := b.wantState("a", transfer.Done).Err; !errors.Is(got, errReason) {
				t.Errorf("ended with %v", got)
			}
		},
		"canceling a job that is done, or that never was, changes nothing": func(t *testing.T, b *bench) {
			b.start()
			b.submit("a", "", long)
			b.finish("a", nil)
			b.Cancel("a", errReason)
			b.Cancel("nobody", errReason)
			synctest.Wait()
			if got := b.wantState("a", transfer.Done); got.Err != nil || got.Result != "result of a" || b.changes["a"] != 2 {
				t.Errorf("it now is %+v, told of %d times", got, b.changes["a"])
			}
		},
		"the deadline counts from when the job starts to run, and says how long it was": func(t *testing.T, b *bench) {
			b.start()
			b.submit("a", "", 10*time.Minute)
			b.submit("b", "", 20*time.Minute)
			time.Sleep(10*time.Minute + time.Second)
			synctest.Wait()
			if got := b.wantState("a", transfer.Done).Err; got == nil || got.Error() != "not done within 10m0s" {
				t.Errorf("ended with %v", got)
			}
			time.Sleep(15 * time.Minute)
			synctest.Wait()
			b.wantState("b", transfer.Running)
			time.Sleep(6 * time.Minute)
			synctest.Wait()
			b.wantState("b", transfer.Done)
		},
		"Remove forgets a job that is done, and none else": func(t *testing.T, b *bench) {
			b.start()
			b.submit("a", "", long)
			b.submit("b", "", long)
			b.Remove("a")
			b.Remove("b")
			b.Remove("nobody")
			b.wantState("a", transfer.Running)
			b.wantState("b", transfer.Queued)
			b.finish("a", nil)
			b.Remove("a")
			if _, found := b.State("a"); found {
				t.Error("the job is still there")
			}
		},
		"when the pool stops, what runs ends with ErrStopping and what waits never runs": func(t *testing.T, b *bench) {
			b.start()
			b.submit("a", "", long)
			b.submit("b", "", long)
			b.stop()
			if got := b.wantState("a", transfer.Done).Err; !errors.Is(got, transfer.ErrStopping) {
				t.Errorf("ended with %v", got)
			}
			b.wantStarted("a")
			if err := b.Submit("late", "", long, b.work("late")); err == nil {
				synctest.Wait()
				b.wantStarted("a")
			}
		},
		"the pool stops only when its last job has returned": func(t *testing.T, b *bench) {
			b.start()
			returned := false
			err := b.Submit("slow", "", long, func(ctx context.Context, _ func(transfer.Progress)) (string, error) {
				<-ctx.Done()
				time.Sleep(8 * time.Second)
				returned = true
				return "", context.Cause(ctx)
			})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			b.stop()
			if !returned {
				t.Error("Start returned before the job")
			}
		},
		"a limit below one still runs one job at a time": func(_ *testing.T, b *bench) {
			b.start()
			b.submit("a", "", long)
			b.wantState("a", transfer.Running)
		},
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) {
			limit := 1
			if strings.HasPrefix(name, "a limit below one") {
				limit = 0
			}
			synctest.Test(t, func(t *testing.T) { run(t, newBench(t, limit)) })
		})
	}
}

// TestPoolUnderLoad is for the race detector: everything at once, with real time and real threads.
func TestPoolUnderLoad(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var changes sync.Map
	pool := transfer.NewPool[int](4, func(key string) { changes.Store(key, true) })
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = pool.Start(ctx) // it never fails
	}()
	var callers sync.WaitGroup
	var mu sync.Mutex
	var results []int
	for i := range 200 {
		callers.Go(func() {
			key := fmt.Sprint(i)
			done := make(chan struct{})
			err := pool.Submit(key, "", long, func(_ context.Context, report func(transfer.Progress)) (int, error) {
				defer close(done)
				report(transfer.Progress{BytesDone: int64(i)})
				return i, nil
			})
			if err != nil {
				t.Error(err)
				return
			}
			pool.State(key)
			pool.Count()
			<-done
			for {
				if state, _ := pool.State(key); state.Phase == transfer.Done {
					mu.Lock()
					results = append(results, state.Result)
					mu.Unlock()
					break
				}
			}
			pool.Cancel(key, errReason)
			pool.Remove(key)
		})
	}
	callers.Wait()
	cancel()
	<-stopped
	slices.Sort(results)
	for i, got := range results {
		if i != got {
			t.Fatalf("result %d of 200 is %d", i, got)
		}
	}
	if running, queued := pool.Count(); running != 0 || queued != 0 || len(results) != 200 {
		t.Errorf("%d run, %d wait, %d results", running, queued, len(results))
	}
}

// TestPoolKeepsTheCause cancels work that says no more than that its context has ended.
func TestPoolKeepsTheCause(t *testing.T) {
	t.Parallel()
	done := make(chan struct{}, 8)
	pool := transfer.NewPool[int](1, func(string) { done <- struct{}{} })
	go func() { _ = pool.Start(t.Context()) }()
	began := make(chan struct{})
	if err := pool.Submit("a", "", time.Hour, func(ctx context.Context, _ func(transfer.Progress)) (int, error) {
		close(began)
		<-ctx.Done()
		return 0, fmt.Errorf("reading a Secret: %w", ctx.Err())
	}); err != nil {
		t.Fatal(err)
	}
	<-began
	cause := errors.New("canceled by a person")
	pool.Cancel("a", cause)
	for range 2 {
		<-done
	}
	state, _ := pool.State("a")
	if !errors.Is(state.Err, cause) || !errors.Is(state.Err, context.Canceled) {
		t.Errorf("ended with %v, want the cause in it", state.Err)
	}
}
