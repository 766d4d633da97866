// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package controller

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// forgets is the leader's reconciler of deleted backups.
type forgets struct {
	*world
	*script[transfer.ForgetRequest, transfer.ForgetOutcome]

	reconciler *ForgetReconciler
	repository string
}

func newForgets(t *testing.T, objects ...client.Object) *forgets {
	t.Helper()
	f := &forgets{
		world: newWorld(t, objects...), script: newScript[transfer.ForgetRequest, transfer.ForgetOutcome](),
		repository: contract.RepositoryName(shop, location),
	}
	pool, _ := startPool[transfer.ForgetOutcome](t, 2)
	f.reconciler = &ForgetReconciler{
		Client: f.client, Recorder: f.recorder, Metrics: f.metrics, Jobs: pool, Forget: f.run, Clock: clock.RealClock{},
	}
	return f
}

// forgotten is a PodVolumeBackup that was asked to be forgotten just now.
func forgotten(name string) *resticv1.PodVolumeBackup {
	backup := podVolumeBackup(name, "data")
	backup.Finalizers = []string{contract.FinalizerForget}
	backup.Spec.Forget, backup.Spec.Cancel = true, true
	backup.Status.Phase, backup.Status.SnapshotID = resticv1.PhaseCompleted, "snapshot of "+name
	now := metav1.Now()
	backup.ManagedFields = []metav1.ManagedFieldsEntry{{
		Manager: "plugin", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "restic.velero.io/v1", Time: &now,
		FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:spec":{"f:forget":{}}}`)},
	}}
	return backup
}

func (f *forgets) look() time.Duration {
	f.t.Helper()
	return look(f.world, f.reconciler, f.repository).RequeueAfter
}

func (f *forgets) wantAsked(count int) {
	f.t.Helper()
	if len(f.asked) != count {
		f.t.Fatalf("%d runs were started, want %d", len(f.asked), count)
	}
}

// wantLeft makes sure which objects there are.
func (f *forgets) wantLeft(names ...string) {
	f.t.Helper()
	list := &resticv1.PodVolumeBackupList{}
	if err := f.client.List(f.t.Context(), list); err != nil {
		f.t.Fatal(err)
	}
	var left []string
	for i := range list.Items {
		left = append(left, list.Items[i].Name)
	}
	if diff := cmp.Diff(names, left); diff != "" {
		f.t.Errorf("PodVolumeBackups left (-want +got):\n%s", diff)
	}
}

func outcomeFor(request transfer.ForgetRequest) transfer.ForgetOutcome {
	return transfer.ForgetOutcome{PodVolumeBackups: request.PodVolumeBackups, Count: request.PodVolumeBackups.Len()}
}

func TestForget(t *testing.T) {
	bubbles(t, map[string]func(*testing.T){
		"requests are gathered, forgotten in one run, and their objects go": func(t *testing.T) {
			bySpec := forgotten("pvb-2")
			bySpec.Spec.SnapshotID, bySpec.Status.SnapshotID = "snapshot in spec", ""
			without := forgotten("pvb-3")
			without.Status.SnapshotID = ""
			f := newForgets(t, forgotten("pvb-1"), bySpec, without, podVolumeBackup("pvb-kept", "data"))
			if again := f.look(); again <= 0 || again > gatherTime {
				t.Errorf("gathers for %s", again)
			}
			f.wantAsked(0)
			pass(gatherTime)
			f.look()
			f.wantAsked(1)
			want := transfer.ForgetRequest{
				Repository:       transfer.Repository{Location: location, Namespace: shop},
				PodVolumeBackups: sets.New("pvb-1", "pvb-2", "pvb-3"),
				SnapshotIDs:      sets.New("snapshot of pvb-1", "snapshot in spec"),
			}
			if diff := cmp.Diff(want, f.asked[0]); diff != "" {
				t.Errorf("the request (-want +got):\n%s", diff)
			}
			f.wantLeft("pvb-1", "pvb-2", "pvb-3", "pvb-kept")
			f.answer(outcomeFor(f.asked[0]), nil)
			f.look()
			f.wantLeft("pvb-kept")
			f.look()
			f.wantAsked(1)
		},
		"what is asked for during a run is left for the next one": func(t *testing.T) {
			f := newForgets(t, forgotten("pvb-1"))
			pass(gatherTime)
			f.look()
			f.create(forgotten("pvb-2"))
			f.look()
			f.answer(outcomeFor(f.asked[0]), nil)
			again := f.look()
			f.wantLeft("pvb-2")
			if again <= 0 {
				t.Fatal("the next run is not begun by itself")
			}
			pass(again)
			f.look()
			f.wantAsked(2)
			if got := f.asked[1].PodVolumeBackups; !got.Equal(sets.New("pvb-2")) {
				t.Errorf("the next run is for %v", got)
			}
		},
		"a run that fails keeps the objects, says why, and is tried again": func(t *testing.T) {
			f := newForgets(t, forgotten("pvb-1"))
			pass(gatherTime)
			f.look()
			f.answer(outcomeFor(f.asked[0]), errors.New("the bucket is locked"))
			again := f.look()
			if again <= 0 || again > time.Minute {
				t.Fatalf("tried again in %s", again)
			}
			f.wantLeft("pvb-1")
			events := f.events()
			if len(events) != 1 || !strings.HasPrefix(events[0], "Warning ForgetFailed ") ||
				!strings.Contains(events[0], "the bucket is locked") {
				t.Errorf("Events: %v", events)
			}
			if !slices.Contains(f.backup("pvb-1").Finalizers, contract.FinalizerForget) {
				t.Error("the finalizer is gone before the snapshot")
			}
			pass(again)
			f.look()
			f.wantAsked(2)
			f.answer(outcomeFor(f.asked[1]), nil)
			f.look()
			f.wantLeft()
		},
		"one that is deleted already is held until its snapshot is gone": func(t *testing.T) {
			f := newForgets(t, forgotten("pvb-1"))
			f.remove(f.backup("pvb-1"))
			pass(gatherTime)
			f.look()
			f.wantLeft("pvb-1")
			f.answer(outcomeFor(f.asked[0]), nil)
			f.look()
			f.wantLeft()
		},
		"one whose transfer is still being stopped waits for that": func(t *testing.T) {
			stopping := forgotten("pvb-1")
			stopping.Status.Phase = resticv1.PhaseInProgress
			f := newForgets(t, stopping)
			pass(gatherTime)
			f.look()
			f.wantAsked(0)
			stopped := f.backup("pvb-1")
			stopped.Status.Phase = resticv1.PhaseCanceled
			f.updateStatus(stopped)
			f.look()
			pass(gatherTime)
			f.look()
			f.wantAsked(1)
		},
		"an error while objects are released loses none": func(t *testing.T) {
			f := newForgets(t, forgotten("pvb-1"), forgotten("pvb-2"))
			pass(gatherTime)
			f.look()
			f.answer(outcomeFor(f.asked[0]), nil)
			broken := &brokenDelete{Client: f.client, fails: 1}
			f.reconciler.Client = broken
			if _, err := attempt(f.world, f.reconciler, f.repository); !apierrors.IsInternalError(err) {
				t.Fatalf("got %v", err)
			}
			f.look()
			f.wantLeft()
			f.wantAsked(1)
		},
		"nothing to forget is no work": func(t *testing.T) {
			f := newForgets(t, podVolumeBackup("pvb-1", "data"))
			if again := f.look(); again != 0 {
				t.Errorf("looked at again in %s", again)
			}
			f.wantAsked(0)
		},
	})
}

// brokenDelete refuses to change objects for a while.
type brokenDelete struct {
	client.Client
	fails int
}

// Delete implements client.Client.
func (b *brokenDelete) Delete(ctx context.Context, object client.Object, options ...client.DeleteOption) error {
	if b.fails--; b.fails >= 0 {
		return apierrors.NewInternalError(errors.New("etcd is gone"))
	}
	return b.Client.Delete(ctx, object, options...)
}

func TestRequestsForForgotten(t *testing.T) {
	if got := requestsForForgotten(t.Context(), podVolumeBackup("pvb-1", "data")); len(got) != 0 {
		t.Errorf("one that is kept asks for %v", got)
	}
	got := requestsForForgotten(t.Context(), forgotten("pvb-1"))
	if len(got) != 1 || got[0].Namespace != velero || got[0].Name != contract.RepositoryName(shop, location) {
		t.Errorf("one that is to be forgotten asks for %v, want its repository", got)
	}
}
