// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package retention

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

	"github.com/velero-restic/velero-plugin-for-restic/agent/agenttest"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// forgets is the leader's reconciler of deleted backups.
type forgets struct {
	*agenttest.World
	*agenttest.Script[transfer.ForgetRequest, transfer.ForgetOutcome]

	reconciler *ForgetReconciler
	repository string
}

func newForgets(t *testing.T, objects ...client.Object) *forgets {
	t.Helper()
	f := &forgets{
		World:      agenttest.NewIndexed(t, []agenttest.Index{{Object: &resticv1.PodVolumeBackup{}, Field: indexForget, Values: forgottenIn}}, objects...),
		Script:     agenttest.NewScript[transfer.ForgetRequest, transfer.ForgetOutcome](),
		repository: contract.RepositoryName(agenttest.Shop, agenttest.Location),
	}
	pool, _ := agenttest.StartPool[transfer.ForgetOutcome](t, 2)
	f.reconciler = &ForgetReconciler{
		Client: f.Client, Recorder: f.Recorder, Metrics: f.Metrics, Jobs: pool, Forget: f.Run, Clock: clock.RealClock{},
	}
	return f
}

// forgotten is a PodVolumeBackup that was asked to be forgotten just now.
func forgotten(name string) *resticv1.PodVolumeBackup {
	backup := agenttest.PodVolumeBackup(name, "data")
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
	f.T.Helper()
	return agenttest.Reconcile(f.World, f.reconciler, f.repository).RequeueAfter
}

func (f *forgets) wantAsked(count int) {
	f.T.Helper()
	if len(f.Asked) != count {
		f.T.Fatalf("%d runs were started, want %d", len(f.Asked), count)
	}
}

// wantLeft makes sure which objects there are.
func (f *forgets) wantLeft(names ...string) {
	f.T.Helper()
	list := &resticv1.PodVolumeBackupList{}
	if err := f.Client.List(f.T.Context(), list); err != nil {
		f.T.Fatal(err)
	}
	var left []string
	for i := range list.Items {
		left = append(left, list.Items[i].Name)
	}
	if diff := cmp.Diff(names, left); diff != "" {
		f.T.Errorf("PodVolumeBackups left (-want +got):\n%s", diff)
	}
}

func outcomeFor(request transfer.ForgetRequest) transfer.ForgetOutcome {
	return transfer.ForgetOutcome{PodVolumeBackups: request.PodVolumeBackups, Count: request.PodVolumeBackups.Len()}
}

func TestForget(t *testing.T) {
	agenttest.InBubbles(t, map[string]func(*testing.T){
		"a prune goes first, and the objects report that they wait for it": func(t *testing.T) {
			f := newForgets(t, forgotten("pvb-1"))
			f.SetRepository(resticv1.RepositoryReady, "")
			f.Occupy(resticv1.MaintenanceRunning)
			agenttest.Sleep(gatherTime)
			if again := f.look(); again != occupiedInterval {
				t.Errorf("looks again in %s, want %s", again, occupiedInterval)
			}
			f.wantAsked(0)
			if message := f.Backup("pvb-1").Status.Message; !strings.Contains(message, "restic-prune-1") {
				t.Errorf("the message is %q, want one that names the Job", message)
			}
			f.Occupy(resticv1.MaintenanceSucceeded)
			f.look()
			f.wantAsked(1)
			f.Answer(outcomeFor(f.Asked[0]), nil)
		},
		"requests are gathered, forgotten in one run, and their objects go": func(t *testing.T) {
			bySpec := forgotten("pvb-2")
			bySpec.Spec.SnapshotID, bySpec.Status.SnapshotID = "snapshot in spec", ""
			without := forgotten("pvb-3")
			without.Status.SnapshotID = ""
			f := newForgets(t, forgotten("pvb-1"), bySpec, without, agenttest.PodVolumeBackup("pvb-kept", "data"))
			if again := f.look(); again <= 0 || again > gatherTime {
				t.Errorf("gathers for %s", again)
			}
			f.wantAsked(0)
			agenttest.Sleep(gatherTime)
			f.look()
			f.wantAsked(1)
			want := transfer.ForgetRequest{
				Repository:       transfer.Repository{Location: agenttest.Location, Namespace: agenttest.Shop},
				PodVolumeBackups: sets.New("pvb-1", "pvb-2", "pvb-3"),
				SnapshotIDs:      sets.New("snapshot of pvb-1", "snapshot in spec"),
			}
			if diff := cmp.Diff(want, f.Asked[0]); diff != "" {
				t.Errorf("the request (-want +got):\n%s", diff)
			}
			f.wantLeft("pvb-1", "pvb-2", "pvb-3", "pvb-kept")
			f.Answer(outcomeFor(f.Asked[0]), nil)
			f.look()
			f.wantLeft("pvb-kept")
			f.look()
			f.wantAsked(1)
		},
		"what is asked for during a run is left for the next one": func(t *testing.T) {
			f := newForgets(t, forgotten("pvb-1"))
			agenttest.Sleep(gatherTime)
			f.look()
			f.Create(forgotten("pvb-2"))
			f.look()
			f.Answer(outcomeFor(f.Asked[0]), nil)
			again := f.look()
			f.wantLeft("pvb-2")
			if again <= 0 {
				t.Fatal("the next run is not begun by itself")
			}
			agenttest.Sleep(again)
			f.look()
			f.wantAsked(2)
			if got := f.Asked[1].PodVolumeBackups; !got.Equal(sets.New("pvb-2")) {
				t.Errorf("the next run is for %v", got)
			}
		},
		"a run that fails keeps the objects, says why, and is tried again": func(t *testing.T) {
			f := newForgets(t, forgotten("pvb-1"))
			agenttest.Sleep(gatherTime)
			f.look()
			f.Answer(outcomeFor(f.Asked[0]), errors.New("the bucket is locked"))
			again := f.look()
			if again <= 0 || again > time.Minute {
				t.Fatalf("tried again in %s", again)
			}
			f.wantLeft("pvb-1")
			events := f.Events()
			if len(events) != 1 || !strings.HasPrefix(events[0], "Warning ForgetFailed ") ||
				!strings.Contains(events[0], "the bucket is locked") {
				t.Errorf("Events: %v", events)
			}
			if !slices.Contains(f.Backup("pvb-1").Finalizers, contract.FinalizerForget) {
				t.Error("the finalizer is gone before the snapshot")
			}
			agenttest.Sleep(again)
			f.look()
			f.wantAsked(2)
			f.Answer(outcomeFor(f.Asked[1]), nil)
			f.look()
			f.wantLeft()
		},
		"one that is deleted already is held until its snapshot is gone": func(t *testing.T) {
			f := newForgets(t, forgotten("pvb-1"))
			f.Remove(f.Backup("pvb-1"))
			agenttest.Sleep(gatherTime)
			f.look()
			f.wantLeft("pvb-1")
			f.Answer(outcomeFor(f.Asked[0]), nil)
			f.look()
			f.wantLeft()
		},
		"one whose transfer is still being stopped waits for that": func(t *testing.T) {
			stopping := forgotten("pvb-1")
			stopping.Status.Phase = resticv1.PhaseInProgress
			f := newForgets(t, stopping)
			agenttest.Sleep(gatherTime)
			f.look()
			f.wantAsked(0)
			stopped := f.Backup("pvb-1")
			stopped.Status.Phase = resticv1.PhaseCanceled
			f.UpdateStatus(stopped)
			f.look()
			agenttest.Sleep(gatherTime)
			f.look()
			f.wantAsked(1)
		},
		"an error while objects are released loses none": func(t *testing.T) {
			f := newForgets(t, forgotten("pvb-1"), forgotten("pvb-2"))
			agenttest.Sleep(gatherTime)
			f.look()
			f.Answer(outcomeFor(f.Asked[0]), nil)
			broken := &brokenDelete{Client: f.Client, fails: 1}
			f.reconciler.Client = broken
			if _, err := agenttest.TryReconcile(f.World, f.reconciler, f.repository); !apierrors.IsInternalError(err) {
				t.Fatalf("got %v", err)
			}
			f.look()
			f.wantLeft()
			f.wantAsked(1)
		},
		"nothing to forget is no work": func(t *testing.T) {
			f := newForgets(t, agenttest.PodVolumeBackup("pvb-1", "data"))
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
	if got := requestsForForgotten(t.Context(), agenttest.PodVolumeBackup("pvb-1", "data")); len(got) != 0 {
		t.Errorf("one that is kept asks for %v", got)
	}
	got := requestsForForgotten(t.Context(), forgotten("pvb-1"))
	if len(got) != 1 || got[0].Namespace != agenttest.Velero || got[0].Name != contract.RepositoryName(agenttest.Shop, agenttest.Location) {
		t.Errorf("one that is to be forgotten asks for %v, want its repository", got)
	}
}

func forgottenIn(o client.Object) []string {
	if backup, ok := o.(*resticv1.PodVolumeBackup); ok && backup.Spec.Forget {
		return []string{backup.Spec.Repository}
	}
	return nil
}
