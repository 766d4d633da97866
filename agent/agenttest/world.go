// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package agenttest has what the tests of several of the agent's packages need: a cluster in memory, its objects, and
// transfers that a test answers.
package agenttest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/velero-restic/velero-plugin-for-restic/agent/event"
	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	"github.com/velero-restic/velero-plugin-for-restic/agent/volume"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/repository"
)

const (
	Velero   = "velero"
	Shop     = "shop"
	Location = "default"
	Node     = "node-1"
)

// World is a cluster in a bubble of synctest: its clock stands still until a test sleeps.
type World struct {
	T        *testing.T
	Client   client.WithWatch
	Recorder *record.FakeRecorder
	Metrics  *metric.Set
	Registry *prometheus.Registry

	// Writes counts how often the status of each object was written.
	Writes map[string]int
	// Refuse, if set, is asked before each write of a status.
	Refuse func(object client.Object) error
}

// Index is one of the cache's, by which objects are listed.
type Index struct {
	Object client.Object
	Field  string
	Values client.IndexerFunc
}

func New(t *testing.T, objects ...client.Object) *World {
	t.Helper()
	return NewIndexed(t, nil, objects...)
}

// NewIndexed is newWorld with indexes in the cache.
func NewIndexed(t *testing.T, indexes []Index, objects ...client.Object) *World {
	t.Helper()
	w := &World{
		T: t, Recorder: record.NewFakeRecorder(1000), Registry: prometheus.NewRegistry(), Writes: map[string]int{},
	}
	scheme := runtime.NewScheme()
	metrics, err := metric.New(w.Registry)
	if err := errors.Join(err, corev1.AddToScheme(scheme), resticv1.AddToScheme(scheme), velerov1.AddToScheme(scheme),
		batchv1.AddToScheme(scheme), appsv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	w.Metrics = metrics
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&resticv1.PodVolumeBackup{}, &resticv1.PodVolumeRestore{}, &resticv1.ResticRepository{}).
		WithInterceptorFuncs(interceptor.Funcs{SubResourcePatch: w.patchStatus})
	for _, index := range indexes {
		builder = builder.WithIndex(index.Object, index.Field, index.Values)
	}
	w.Client = builder.Build()
	return w
}

func (w *World) patchStatus(
	ctx context.Context, c client.Client, subresource string, object client.Object, patch client.Patch,
	options ...client.SubResourcePatchOption,
) error {
	if w.Refuse != nil {
		if err := w.Refuse(object); err != nil {
			return err
		}
	}
	w.Writes[object.GetName()]++
	return c.SubResource(subresource).Patch(ctx, object, patch, options...)
}

func (w *World) Announcer() *event.Announcer {
	return &event.Announcer{Recorder: w.Recorder, Metrics: w.Metrics}
}

func (w *World) NodeOptions() volume.NodeOptions {
	return volume.NodeOptions{
		Client: w.Client, Reader: w.Client, Announcer: w.Announcer(), Node: Node, Pod: "restic-1", Namespace: Velero,
		RepositoryWait: time.Minute, ProgressInterval: 2 * time.Second, Clock: clock.RealClock{},
	}
}

// Events returns the Events since it was last called.
func (w *World) Events() []string {
	var all []string
	for {
		select {
		case event := <-w.Recorder.Events:
			all = append(all, event)
		default:
			return all
		}
	}
}

// Gauge returns the first value of a gauge, empty without one.
func (w *World) Gauge(name string) string {
	w.T.Helper()
	families, err := w.Registry.Gather()
	if err != nil {
		w.T.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			return fmt.Sprint(family.GetMetric()[0].GetGauge().GetValue())
		}
	}
	return ""
}

// Get reads an object of Velero's namespace again.
func Get[T client.Object](w *World, name string, into T) T {
	w.T.Helper()
	if err := w.Client.Get(w.T.Context(), client.ObjectKey{Namespace: Velero, Name: name}, into); err != nil {
		w.T.Fatal(err)
	}
	return into
}

func (w *World) Backup(name string) *resticv1.PodVolumeBackup {
	w.T.Helper()
	return Get(w, name, &resticv1.PodVolumeBackup{})
}

func (w *World) Restore(name string) *resticv1.PodVolumeRestore {
	w.T.Helper()
	return Get(w, name, &resticv1.PodVolumeRestore{})
}

func (w *World) Update(object client.Object) {
	w.T.Helper()
	if err := w.Client.Update(w.T.Context(), object); err != nil {
		w.T.Fatal(err)
	}
}

// UpdateStatus writes a status as another client would. The write is not counted.
func (w *World) UpdateStatus(object client.Object) {
	w.T.Helper()
	if err := w.Client.Status().Update(w.T.Context(), object); err != nil {
		w.T.Fatal(err)
	}
}

func (w *World) Create(object client.Object) {
	w.T.Helper()
	if err := w.Client.Create(w.T.Context(), object); err != nil {
		w.T.Fatal(err)
	}
}

func (w *World) Remove(object client.Object) {
	w.T.Helper()
	if err := w.Client.Delete(w.T.Context(), object); err != nil {
		w.T.Fatal(err)
	}
}

// SetRepository makes the repository of the shop's volumes, or changes its phase.
func (w *World) SetRepository(phase resticv1.RepositoryPhase, message string) {
	w.T.Helper()
	wanted := repository.ForNamespace(Velero, Shop, Location, 0)
	if err := client.IgnoreAlreadyExists(w.Client.Create(w.T.Context(), wanted)); err != nil {
		w.T.Fatal(err)
	}
	found := Get(w, wanted.Name, &resticv1.ResticRepository{})
	found.Status.Phase, found.Status.Message = phase, message
	w.UpdateStatus(found)
}

// TryReconcile looks at one object, and lets everything that follows from it come to rest.
func TryReconcile(w *World, reconciler reconcile.Reconciler, name string) (ctrl.Result, error) {
	result, err := reconciler.Reconcile(w.T.Context(), ctrl.Request{
		NamespacedName: client.ObjectKey{Namespace: Velero, Name: name},
	})
	synctest.Wait()
	return result, err
}

// Reconcile is attempt without an error.
func Reconcile(w *World, reconciler reconcile.Reconciler, name string) ctrl.Result {
	w.T.Helper()
	result, err := TryReconcile(w, reconciler, name)
	if err != nil {
		w.T.Fatalf("reconciling %s: %v", name, err)
	}
	return result
}

// Sleep lets time go by.
func Sleep(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// InBubbles runs each case in a bubble of its own.
func InBubbles(t *testing.T, cases map[string]func(t *testing.T)) {
	t.Helper()
	for name, run := range cases {
		t.Run(name, func(t *testing.T) { synctest.Test(t, run) })
	}
}
