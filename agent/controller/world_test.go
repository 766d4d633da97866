// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/repository"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

const (
	velero   = "velero"
	shop     = "shop"
	location = "default"
	thisNode = "node-1"
)

// world is a cluster in a bubble of synctest: its clock stands still until a test sleeps.
type world struct {
	t        *testing.T
	client   client.WithWatch
	recorder *record.FakeRecorder
	metrics  *metric.Set
	registry *prometheus.Registry

	// writes counts how often the status of each object was written.
	writes map[string]int
	// refuse, if set, is asked before each write of a status.
	refuse func(object client.Object) error
}

func newWorld(t *testing.T, objects ...client.Object) *world {
	t.Helper()
	w := &world{
		t: t, recorder: record.NewFakeRecorder(1000), registry: prometheus.NewRegistry(), writes: map[string]int{},
	}
	scheme := runtime.NewScheme()
	metrics, err := metric.New(w.registry)
	if err := errors.Join(err, corev1.AddToScheme(scheme), resticv1.AddToScheme(scheme), velerov1.AddToScheme(scheme),
		batchv1.AddToScheme(scheme), appsv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	w.metrics = metrics
	w.client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&resticv1.PodVolumeBackup{}, &resticv1.PodVolumeRestore{}, &resticv1.ResticRepository{}).
		WithIndex(&resticv1.PodVolumeBackup{}, indexForget, forgottenIn).
		WithIndex(&resticv1.PodVolumeRestore{}, indexClaim, claimsOf).
		WithInterceptorFuncs(interceptor.Funcs{SubResourcePatch: w.patchStatus}).Build()
	return w
}

func forgottenIn(o client.Object) []string {
	if backup, ok := o.(*resticv1.PodVolumeBackup); ok && backup.Spec.Forget {
		return []string{backup.Spec.Repository}
	}
	return nil
}

func claimsOf(o client.Object) []string {
	if restore, ok := o.(*resticv1.PodVolumeRestore); ok && claimKey(restore) != "" {
		return []string{claimKey(restore)}
	}
	return nil
}

func (w *world) patchStatus(
	ctx context.Context, c client.Client, subresource string, object client.Object, patch client.Patch,
	options ...client.SubResourcePatchOption,
) error {
	if w.refuse != nil {
		if err := w.refuse(object); err != nil {
			return err
		}
	}
	w.writes[object.GetName()]++
	return c.SubResource(subresource).Patch(ctx, object, patch, options...)
}

func (w *world) announcer() *Announcer { return &Announcer{Recorder: w.recorder, Metrics: w.metrics} }

func (w *world) nodeOptions() NodeOptions {
	return NodeOptions{
		Client: w.client, Reader: w.client, Announcer: w.announcer(), Node: thisNode, Pod: "restic-1", Namespace: velero,
		RepositoryWait: time.Minute, ProgressInterval: 2 * time.Second, Clock: clock.RealClock{},
	}
}

// events returns the Events since it was last called.
func (w *world) events() []string {
	var all []string
	for {
		select {
		case event := <-w.recorder.Events:
			all = append(all, event)
		default:
			return all
		}
	}
}

// gauge returns the first value of a gauge, empty without one.
func (w *world) gauge(name string) string {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return fmt.Sprint(family.GetMetric()[0].GetGauge().GetValue())
		}
	}
	return ""
}

// get reads an object of Velero's namespace again.
func get[T client.Object](w *world, name string, into T) T {
	w.t.Helper()
	if err := w.client.Get(w.t.Context(), client.ObjectKey{Namespace: velero, Name: name}, into); err != nil {
		w.t.Fatal(err)
	}
	return into
}

func (w *world) backup(name string) *resticv1.PodVolumeBackup {
	w.t.Helper()
	return get(w, name, &resticv1.PodVolumeBackup{})
}

func (w *world) restore(name string) *resticv1.PodVolumeRestore {
	w.t.Helper()
	return get(w, name, &resticv1.PodVolumeRestore{})
}

func (w *world) update(object client.Object) {
	w.t.Helper()
	if err := w.client.Update(w.t.Context(), object); err != nil {
		w.t.Fatal(err)
	}
}

// updateStatus writes a status as somebody else would, uncounted.
func (w *world) updateStatus(object client.Object) {
	w.t.Helper()
	if err := w.client.Status().Update(w.t.Context(), object); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create(object client.Object) {
	w.t.Helper()
	if err := w.client.Create(w.t.Context(), object); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remove(object client.Object) {
	w.t.Helper()
	if err := w.client.Delete(w.t.Context(), object); err != nil {
		w.t.Fatal(err)
	}
}

// setRepository makes the repository of the shop's volumes, or changes its phase.
func (w *world) setRepository(phase resticv1.RepositoryPhase, message string) {
	w.t.Helper()
	wanted := repository.ForNamespace(velero, shop, location, 0)
	if err := client.IgnoreAlreadyExists(w.client.Create(w.t.Context(), wanted)); err != nil {
		w.t.Fatal(err)
	}
	found := get(w, wanted.Name, &resticv1.ResticRepository{})
	found.Status.Phase, found.Status.Message = phase, message
	w.updateStatus(found)
}

// attempt looks at one object, and lets everything that follows from it come to rest.
func attempt(w *world, reconciler reconcile.Reconciler, name string) (ctrl.Result, error) {
	result, err := reconciler.Reconcile(w.t.Context(), ctrl.Request{
		NamespacedName: client.ObjectKey{Namespace: velero, Name: name},
	})
	synctest.Wait()
	return result, err
}

// look is attempt without an error.
func look(w *world, reconciler reconcile.Reconciler, name string) ctrl.Result {
	w.t.Helper()
	result, err := attempt(w, reconciler, name)
	if err != nil {
		w.t.Fatalf("reconciling %s: %v", name, err)
	}
	return result
}

// pass lets time go by.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// script is a transfer's work under the control of a test: Q is what it is asked for, R its outcome.
type script[Q, R any] struct {
	mu sync.Mutex
	// asked are the requests so far.
	asked []Q
	// report is that of the newest request.
	report  func(transfer.Progress)
	answers chan func() (R, error)
	// stubborn work returns no sooner than it is answered.
	stubborn bool
}

func newScript[Q, R any]() *script[Q, R] {
	return &script[Q, R]{answers: make(chan func() (R, error), 10)}
}

// run is like the methods of transfer.Mover: it ends when it is answered, or when its context does.
func (s *script[Q, R]) run(ctx context.Context, request Q, report func(transfer.Progress)) (R, error) {
	s.mu.Lock()
	s.asked, s.report = append(s.asked, request), report
	s.mu.Unlock()
	done := ctx.Done()
	if s.stubborn {
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

// answer ends the work that runs, or the next one.
func (s *script[Q, R]) answer(result R, err error) {
	s.answers <- func() (R, error) { return result, err }
	synctest.Wait()
}

// startPool runs a pool until the test ends, or until stop is called.
func startPool[R any](t *testing.T, limit int) (pool *transfer.Pool[R], stop func()) {
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

// bubbles runs each case in a bubble of its own.
func bubbles(t *testing.T, cases map[string]func(t *testing.T)) {
	t.Helper()
	for name, run := range cases {
		t.Run(name, func(t *testing.T) { synctest.Test(t, run) })
	}
}

func objectMeta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: metav1.Now()}
}

// pod is one of the shop's with an emptyDir "cache" and a claim's volume "data", both mounted.
func pod(name string) *corev1.Pod {
	object := &corev1.Pod{ObjectMeta: objectMeta(shop, name), Spec: corev1.PodSpec{NodeName: thisNode}}
	object.UID = "uid-of-web"
	object.Spec.Volumes = []corev1.Volume{
		{Name: "cache", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-web"},
		}},
	}
	object.Spec.Containers = []corev1.Container{{VolumeMounts: []corev1.VolumeMount{{Name: "cache"}, {Name: "data"}}}}
	return object
}

// storage is the claim of pod's volume "data", and what it is bound to.
func storage() []client.Object {
	return []client.Object{
		&corev1.PersistentVolumeClaim{
			ObjectMeta: objectMeta(shop, "data-web"), Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "pv-1"},
		},
		&corev1.PersistentVolume{ObjectMeta: objectMeta("", "pv-1")},
	}
}

func podVolumeBackup(name, volume string) *resticv1.PodVolumeBackup {
	backup := &resticv1.PodVolumeBackup{ObjectMeta: objectMeta(velero, name)}
	backup.Spec = resticv1.PodVolumeBackupSpec{
		Node: thisNode, Volume: volume, BackupStorageLocation: location,
		Pod:        corev1.ObjectReference{Kind: "Pod", Namespace: shop, Name: "web", UID: "uid-of-web"},
		Repository: contract.RepositoryName(shop, location), Timeout: metav1.Duration{Duration: 4 * time.Hour},
		Tags: map[string]string{contract.TagBackupUID: "backup-1"},
	}
	return backup
}
