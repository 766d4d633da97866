// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/velero-restic/velero-plugin-for-restic/agent/agenttest"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/repository"
)

// repositories is the leader's reconciler of ResticRepositories.
type repositories struct {
	*agenttest.World
	*agenttest.Script[transfer.ProbeRequest, transfer.ProbeOutcome]

	reconciler *Reconciler
	name       string
}

func newRepositories(t *testing.T) *repositories {
	t.Helper()
	r := &repositories{
		World: agenttest.New(t), Script: agenttest.NewScript[transfer.ProbeRequest, transfer.ProbeOutcome](),
		name: contract.RepositoryName(agenttest.Shop, agenttest.Location),
	}
	pool, _ := agenttest.StartPool[transfer.ProbeOutcome](t, 2)
	r.reconciler = &Reconciler{
		Client: r.Client, Recorder: r.Recorder, Metrics: r.Metrics, Clock: clock.RealClock{}, Jobs: pool, Probe: r.Run,
		AllowStaticPassword: true,
	}
	r.Create(repository.ForNamespace(agenttest.Velero, agenttest.Shop, agenttest.Location, 0))
	return r
}

func (r *repositories) look() time.Duration {
	r.T.Helper()
	return agenttest.Reconcile(r.World, r.reconciler, r.name).RequeueAfter
}

// probe has the reconciler look at the repository and find what is given. It returns the status, and when it looks
// next.
func (r *repositories) probe(
	outcome transfer.ProbeOutcome, err error,
) (resticv1.ResticRepositoryStatus, time.Duration) {
	r.T.Helper()
	before := len(r.Asked)
	r.look()
	if len(r.Asked) != before+1 {
		r.T.Fatalf("%d probes were started, want one", len(r.Asked)-before)
	}
	r.Answer(outcome, err)
	again := r.look()
	return agenttest.Get(r.World, r.name, &resticv1.ResticRepository{}).Status, again
}

func (r *repositories) wantGauge(want string) {
	r.T.Helper()
	if got := r.Gauge("velero_restic_repository_ready"); got != want {
		r.T.Errorf("the gauge is %q, want %q", got, want)
	}
}

func TestRepository(t *testing.T) {
	found := transfer.ProbeOutcome{ID: "0123456789", URL: "s3:bucket/shop"}
	agenttest.InBubbles(t, map[string]func(*testing.T){
		"one that is made becomes ready, and is looked at again in an hour": func(t *testing.T) {
			r := newRepositories(t)
			made := found
			made.Made = true
			got, again := r.probe(made, nil)
			if r.Asked[0].KnownID != "" || !r.Asked[0].AllowWellKnown ||
				r.Asked[0].Repository != (transfer.Repository{Location: agenttest.Location, Namespace: agenttest.Shop}) {
				t.Errorf("asked for %+v", r.Asked[0])
			}
			if got.Phase != resticv1.RepositoryReady || got.Message != "" || got.RepositoryID != found.ID ||
				got.ResticIdentifier != found.URL || got.LastOpenedTime == nil || again != time.Hour {
				t.Errorf("the status is %+v, looked at again in %s", got, again)
			}
			if diff := cmp.Diff([]string{"Normal RepositoryReady The repository was made"}, r.Events()); diff != "" {
				t.Error(diff)
			}
			r.wantGauge("1")
		},
		"one that only a restore has asked for is opened, and not made": func(t *testing.T) {
			r := newRepositories(t)
			object := agenttest.Get(r.World, r.name, &resticv1.ResticRepository{})
			object.Spec.OpenOnly = true
			r.Update(object)
			r.probe(found, nil)
			if !r.Asked[0].OpenOnly {
				t.Errorf("asked for %+v", r.Asked[0])
			}
		},
		"one that stays ready is told of once, and is opened under its ID": func(t *testing.T) {
			r := newRepositories(t)
			r.probe(found, nil)
			r.Events()
			agenttest.Sleep(time.Hour)
			got, _ := r.probe(found, nil)
			if events := r.Events(); len(events) != 0 || r.Asked[1].KnownID != found.ID {
				t.Errorf("told of %v, known as %q", events, r.Asked[1].KnownID)
			}
			if age := time.Since(got.LastOpenedTime.Time); age != 0 {
				t.Errorf("last checked %s ago", age)
			}
		},
		"one that does not open says why, and is tried again soon, without a write each time": func(t *testing.T) {
			r := newRepositories(t)
			r.probe(found, nil)
			r.Events()
			got, again := r.probe(transfer.ProbeOutcome{URL: found.URL}, errors.New("make a Secret"))
			if got.Phase != resticv1.RepositoryNotReady || got.Message != "make a Secret" || got.RepositoryID != found.ID ||
				again > time.Minute || again <= 0 {
				t.Errorf("the status is %+v, looked at again in %s", got, again)
			}
			r.wantGauge("0")
			if diff := cmp.Diff([]string{"Warning RepositoryNotReady make a Secret"}, r.Events()); diff != "" {
				t.Error(diff)
			}
			writes := r.Writes[r.name]
			r.probe(transfer.ProbeOutcome{URL: found.URL}, errors.New("make a Secret"))
			if r.Writes[r.name] != writes {
				t.Error("its status was written again, though nothing has changed")
			}
			if got, _ := r.probe(found, nil); got.Phase != resticv1.RepositoryReady || got.Message != "" {
				t.Errorf("once it opens again it is %+v", got)
			}
		},
		"another one in its place is not used, and the right one is noticed soon": func(t *testing.T) {
			r := newRepositories(t)
			r.probe(found, nil)
			other := found
			other.ID = "abcdefghij"
			got, again := r.probe(other, nil)
			if got.Phase != resticv1.RepositoryNotReady || got.RepositoryID != found.ID || again > time.Minute || again <= 0 {
				t.Errorf("the status is %+v, looked at again in %s", got, again)
			}
			for _, part := range []string{found.URL, "id abcdefgh,", "was 01234567)", "delete this ResticRepository"} {
				if !strings.Contains(got.Message, part) {
					t.Errorf("%q does not say %q", got.Message, part)
				}
			}
			if got, _ := r.probe(found, nil); got.Phase != resticv1.RepositoryReady {
				t.Errorf("with the right one again: %+v", got)
			}
		},
		"a probe that goes on is waited for": func(t *testing.T) {
			r := newRepositories(t)
			r.look()
			r.look()
			if len(r.Asked) != 1 || r.Writes[r.name] != 0 {
				t.Errorf("%d probes, %d writes", len(r.Asked), r.Writes[r.name])
			}
		},
		"a probe that takes too long says so": func(t *testing.T) {
			r := newRepositories(t)
			r.look()
			agenttest.Sleep(probeTimeout + time.Second)
			r.look()
			got := agenttest.Get(r.World, r.name, &resticv1.ResticRepository{}).Status
			if got.Phase != resticv1.RepositoryNotReady || !strings.Contains(got.Message, "not done within 5m0s") {
				t.Errorf("the status is %+v", got)
			}
		},
		"the outcome for one that was deleted is not that of the next one of its name": func(t *testing.T) {
			r := newRepositories(t)
			r.probe(found, nil)
			r.look()
			r.Remove(agenttest.Get(r.World, r.name, &resticv1.ResticRepository{}))
			r.look()
			r.look()
			r.wantGauge("")
			r.Create(repository.ForNamespace(agenttest.Velero, agenttest.Shop, agenttest.Location, 0))
			if got, _ := r.probe(found, nil); got.Phase != resticv1.RepositoryReady || r.Asked[len(r.Asked)-1].KnownID != "" {
				t.Errorf("the new one is %+v", got)
			}
		},
	})
}

func TestRequestsForLocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRepositories(t)
		r.Create(repository.ForNamespace(agenttest.Velero, "other", agenttest.Location, 0))
		r.Create(repository.ForNamespace(agenttest.Velero, agenttest.Shop, "elsewhere", 0))
		r.Create(repository.ForNamespace("another-velero", agenttest.Shop, agenttest.Location, 0))
		var got []string
		for _, request := range r.reconciler.requestsForLocation(t.Context(),
			&velerov1.BackupStorageLocation{ObjectMeta: agenttest.Meta(agenttest.Velero, agenttest.Location)}) {
			got = append(got, request.String())
		}
		want := []string{
			agenttest.Velero + "/" + contract.RepositoryName("other", agenttest.Location), agenttest.Velero + "/" + contract.RepositoryName(agenttest.Shop, agenttest.Location),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
}

// TestRequestsForFailed has a repository looked at when something in it has just failed.
func TestRequestsForFailed(t *testing.T) {
	before, failed := agenttest.PodVolumeBackup("pvb-1", "data"), agenttest.PodVolumeBackup("pvb-1", "data")
	failed.Status.Phase = resticv1.PhaseFailed
	restore := &resticv1.PodVolumeRestore{ObjectMeta: agenttest.Meta(agenttest.Velero, "pvr-1")}
	restore.Spec.Repository, restore.Status.Phase = failed.Spec.Repository, resticv1.PhaseFailed
	pending := restore.DeepCopy()
	pending.Status.Phase = resticv1.PhaseInProgress
	for name, c := range map[string]struct {
		before, now client.Object
		want        bool
	}{
		"a backup fails":            {before, failed, true},
		"a restore fails":           {pending, restore, true},
		"a failed one is changed":   {failed, failed, false},
		"one goes on":               {before, before, false},
		"something else is changed": {&resticv1.ResticRepository{}, &resticv1.ResticRepository{}, false},
	} {
		if got := failedNow().Update(event.UpdateEvent{ObjectOld: c.before, ObjectNew: c.now}); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	if failedNow().Create(event.CreateEvent{Object: failed}) {
		t.Error("a failure of before counts again")
	}
	want := []reconcile.Request{{
		NamespacedName: client.ObjectKey{Namespace: agenttest.Velero, Name: contract.RepositoryName(agenttest.Shop, agenttest.Location)},
	}}
	for _, object := range []client.Object{failed, restore} {
		if diff := cmp.Diff(want, requestsForFailed(t.Context(), object)); diff != "" {
			t.Error(diff)
		}
	}
}
