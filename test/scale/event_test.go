// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package scale

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
	"github.com/velero-restic/velero-plugin-for-restic/internal/inventory"
)

// TestEvents counts the claims that are decided about again when something changes: those that it concerns, never all.
// Its parts build on each other. What each changes is put right at its end.
func TestEvents(t *testing.T) {
	e := &events{stock: startStock(t)}
	if n := e.stock.Evaluations(); n != claims {
		t.Errorf("it took %d decisions to take stock of %d claims", n, claims)
	}
	t.Run("a pod's status that nobody looks at", e.statusOfPods)
	t.Run("a pod's label", e.labelOfPod)
	t.Run("the status of schedules, and then one that is paused", e.schedules)
	t.Run("backups that end", e.backups)
	t.Run("a burst of pods during scrapes", e.burst)
	t.Run("the volume policies of all", e.everything)
}

// events are the parts of TestEvents.
type events struct{ stock *inventory.Inventory }

// state returns the state of a claim.
func (e *events) state(t *testing.T, namespace, slot int) coverage.State {
	t.Helper()
	for _, state := range e.stock.States(time.Now()) {
		if state.Namespace == namespaceName(namespace) && state.Claim == claimName(slot) {
			return state
		}
	}
	t.Fatalf("claim %s/%s has no state", namespaceName(namespace), claimName(slot))
	return coverage.State{}
}

// decisions returns how many were made for what happens in act, once the change can be seen and no more follow.
func (e *events) decisions(t *testing.T, act func(*testing.T), seen func() bool) uint64 {
	t.Helper()
	before := e.stock.Evaluations()
	act(t)
	for end := time.Now().Add(time.Minute); !seen(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the change cannot be seen after a minute")
		}
	}
	for last := uint64(0); last != e.stock.Evaluations(); time.Sleep(time.Second) {
		last = e.stock.Evaluations()
	}
	return e.stock.Evaluations() - before
}

// parallel does something to each of so many objects.
func parallel(t *testing.T, n int, do func(int) error) {
	t.Helper()
	var group errgroup.Group
	group.SetLimit(workers)
	for i := range n {
		group.Go(func() error { return do(i) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}

func patch(t *testing.T, object client.Object, text string) error {
	return shared.client.Patch(t.Context(), object, client.RawPatch("application/merge-patch+json", []byte(text)))
}

func patchStatus(t *testing.T, object client.Object, text string) error {
	return shared.client.Status().Patch(t.Context(), object,
		client.RawPatch("application/merge-patch+json", []byte(text)))
}

func podAt(namespace, slot int) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespaceName(namespace), Name: podName(slot)}}
}

// notAsked is a slot that nothing asks for.
const notAsked = 94

// setTier labels a pod for the schedules that take all volumes of such pods, or takes the label off.
func setTier(t *testing.T, namespace int, value string) {
	t.Helper()
	text := fmt.Sprintf(`{"metadata":{"labels":{"tier":%s}}}`, value)
	if err := patch(t, podAt(namespace, notAsked), text); err != nil {
		t.Fatal(err)
	}
}

func (e *events) taken(t *testing.T, namespace int) bool {
	t.Helper()
	return e.state(t, namespace, notAsked).Method == coverage.MethodRestic
}

func (e *events) labelOfPod(t *testing.T) {
	n := e.decisions(t, func(t *testing.T) { setTier(t, 33, `"gold"`) }, func() bool { return e.taken(t, 33) })
	back := e.decisions(t, func(t *testing.T) { setTier(t, 33, "null") }, func() bool { return !e.taken(t, 33) })
	if n != 1 || back != 1 {
		t.Errorf("%d and %d claims were decided about, want 1 and 1", n, back)
	}
}

// statusOfPods ends with a label: when that is seen, so is all that was before.
func (e *events) statusOfPods(t *testing.T) {
	const pods = 500
	n := e.decisions(t, func(t *testing.T) {
		parallel(t, pods, func(i int) error {
			return patchStatus(t, podAt(i%namespaces, i/namespaces), `{"status":{"message":"some condition has changed"}}`)
		})
		setTier(t, 44, `"gold"`)
	}, func() bool { return e.taken(t, 44) })
	if n != 1 {
		t.Errorf("%d claims were decided about, want 1", n)
	}
	e.decisions(t, func(t *testing.T) { setTier(t, 44, "null") }, func() bool { return !e.taken(t, 44) })
}

func (e *events) schedules(t *testing.T) {
	var list velerov1.ScheduleList
	if err := shared.client.List(t.Context(), &list, client.InNamespace(veleroNamespace)); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 50 {
		t.Fatalf("there are %d schedules", len(list.Items))
	}
	// Nothing else takes snapshots in these ten namespaces.
	pause := func(t *testing.T, value bool) {
		nightly := &velerov1.Schedule{ObjectMeta: metav1.ObjectMeta{Namespace: veleroNamespace, Name: "nightly-5"}}
		if err := patch(t, nightly, fmt.Sprintf(`{"spec":{"paused":%v}}`, value)); err != nil {
			t.Fatal(err)
		}
	}
	const snapshot = 60
	n := e.decisions(t, func(t *testing.T) {
		// Velero writes the status at each backup; for schedules it is no resource of its own.
		parallel(t, len(list.Items), func(i int) error {
			schedule := &list.Items[i]
			schedule.Status.LastBackup = &metav1.Time{Time: time.Now()}
			return shared.client.Update(t.Context(), schedule)
		})
		pause(t, true)
	}, func() bool { return !e.state(t, 55, snapshot).Protected })
	const reached = 10 * slots
	if n != reached {
		t.Errorf("%d claims were decided about, want %d", n, reached)
	}
	n = e.decisions(t, func(t *testing.T) { pause(t, false) },
		func() bool { return e.state(t, 55, snapshot).Protected })
	if n != reached {
		t.Errorf("%d claims were decided about, want %d", n, reached)
	}
}

// backups that end change no decision: how they went is looked up when it is asked for.
func (e *events) backups(t *testing.T) {
	const failed = 16
	end := func(t *testing.T, phase resticv1.VolumePhase) {
		parallel(t, namespaces, func(i int) error {
			backup := &resticv1.PodVolumeBackup{ObjectMeta: metav1.ObjectMeta{
				Namespace: veleroNamespace, Name: backupName(0, namespaceName(i), claimName(failed)),
			}}
			return patchStatus(t, backup, fmt.Sprintf(`{"status":{"phase":%q}}`, phase))
		})
	}
	all := func(protected bool) func() bool {
		return func() bool {
			for i := range namespaces {
				if e.state(t, i, failed).Protected != protected {
					return false
				}
			}
			return true
		}
	}
	n := e.decisions(t, func(t *testing.T) { end(t, resticv1.PhaseCompleted) }, all(true))
	n += e.decisions(t, func(t *testing.T) { end(t, resticv1.PhaseFailed) }, all(false))
	if n > 2*namespaces {
		t.Errorf("%d claims were decided about, want at most one for each of %d", n, 2*namespaces)
	}
}

// burst changes pods as quickly as the API server allows, and scrapes at the same time.
func (e *events) burst(t *testing.T) {
	const changes = 2000
	handler := startMetrics(t, e.stock)
	slowest, scrapes := time.Duration(0), 0
	quick := time.Hour
	n := e.decisions(t, func(t *testing.T) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			parallel(t, changes, func(i int) error {
				return patch(t, podAt(i%namespaces, i/namespaces), fmt.Sprintf(`{"metadata":{"labels":{"turn":"%d"}}}`, i))
			})
			setTier(t, 66, `"gold"`)
		}()
		for running := true; running; scrapes++ {
			_, took := scrape(t, handler)
			slowest, quick = max(slowest, took), min(quick, took)
			select {
			case <-done:
				running = false
			case <-time.After(100 * time.Millisecond):
			}
		}
	}, func() bool { return e.taken(t, 66) })
	t.Logf("%d scrapes during %d changes took %v to %v", scrapes, changes, quick.Round(time.Millisecond),
		slowest.Round(time.Millisecond))
	if n > changes+1 {
		t.Errorf("%d claims were decided about after %d changes", n, changes+1)
	}
	// The machine's other work counts for the slowest, hence the time after which Prometheus gives up.
	if quick > scrapeLimit || slowest > 10*scrapeLimit {
		t.Errorf("a scrape took %v, the quickest %v", slowest, quick)
	}
	e.decisions(t, func(t *testing.T) { setTier(t, 66, "null") }, func() bool { return !e.taken(t, 66) })
}

// everything changes what all claims depend on, and tells what it would cost to decide about all at each event.
func (e *events) everything(t *testing.T) {
	set := func(t *testing.T, text string) {
		policies := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: veleroNamespace, Name: policyName}}
		policies.Data = map[string]string{"policies.yaml": text}
		if err := shared.client.Update(t.Context(), policies); err != nil {
			t.Fatal(err)
		}
	}
	const snapshot = 60
	for _, broken := range []bool{true, false} {
		text := policiesText
		if broken {
			text = "version: v0"
		}
		begin := cpu(t)
		n := e.decisions(t, func(t *testing.T) { set(t, text) },
			func() bool { return e.state(t, 99, snapshot).Protected != broken })
		t.Logf("to decide about %d claims took at most %v of processor time, %v for each", n,
			(cpu(t) - begin).Round(time.Millisecond), ((cpu(t) - begin) / time.Duration(n)).Round(time.Microsecond))
		if n < claims || n > 2*claims {
			t.Errorf("%d claims were decided about, want all %d", n, claims)
		}
	}
}

// cpu returns the processor time that this process has taken.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
