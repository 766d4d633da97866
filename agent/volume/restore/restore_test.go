// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restore

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/agenttest"
	"github.com/velero-restic/velero-plugin-for-restic/agent/hostpath"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// markers are the marker of each pod's volume: "done", or the reason of a failure.
type markers struct {
	written map[string]string
	removed map[string]int
	err     error
}

func (m *markers) Ensure(volume hostpath.Volume, uid, reason string) error {
	if m.err != nil {
		return m.err
	}
	if reason == "" {
		reason = "done"
	}
	m.written[volume.Pod.Name+"/"+volume.Name+"/"+uid] = reason
	return nil
}

func (m *markers) Remove(volume hostpath.Volume, uid string) error {
	key := volume.Pod.Name + "/" + volume.Name + "/" + uid
	delete(m.written, key)
	m.removed[key]++
	return m.err
}

// restores is a node's reconciler of PodVolumeRestores, with a repository that is ready.
type restores struct {
	*agenttest.World
	*agenttest.Script[transfer.RestoreRequest, transfer.RestoreOutcome]

	markers    *markers
	reconciler *Reconciler
	stopAgent  func()
}

func newRestores(t *testing.T, objects ...client.Object) *restores {
	t.Helper()
	r := &restores{
		World: agenttest.NewIndexed(t, []agenttest.Index{{Object: &resticv1.PodVolumeRestore{}, Field: indexClaim, Values: claimsOf}},
			append(agenttest.Storage(), objects...)...),
		markers: &markers{written: map[string]string{}, removed: map[string]int{}},
	}
	r.SetRepository(resticv1.RepositoryReady, "")
	r.startAgent()
	return r
}

func (r *restores) startAgent() {
	r.Script = agenttest.NewScript[transfer.RestoreRequest, transfer.RestoreOutcome]()
	pool, stop := agenttest.StartPool[transfer.RestoreOutcome](r.T, 1)
	r.stopAgent = stop
	r.reconciler = &Reconciler{NodeOptions: r.NodeOptions(), Jobs: pool, Restore: r.Run, Markers: r.markers}
}

func terminated() corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
}

func (r *restores) setHelper(podName string, state corev1.ContainerState) {
	r.T.Helper()
	object := &corev1.Pod{}
	if err := r.Client.Get(r.T.Context(), client.ObjectKey{Namespace: agenttest.Shop, Name: podName}, object); err != nil {
		r.T.Fatal(err)
	}
	object.Status.InitContainerStatuses[1].State = state
	r.UpdateStatus(object)
}

func (r *restores) lookAt(name string) time.Duration {
	r.T.Helper()
	return agenttest.Reconcile(r.World, r.reconciler, name).RequeueAfter
}

func (r *restores) want(name string, phase resticv1.VolumePhase, messages ...string) *resticv1.PodVolumeRestore {
	r.T.Helper()
	r.lookAt(name)
	got := r.Restore(name)
	if got.Status.Phase != phase {
		r.T.Fatalf("the phase of %s is %q (%s), want %q", name, got.Status.Phase, got.Status.Message, phase)
	}
	for _, part := range messages {
		if !strings.Contains(got.Status.Message, part) {
			r.T.Errorf("the message is %q, want %q in it", got.Status.Message, part)
		}
	}
	if phase.Final() && got.Status.Reason != "" {
		r.T.Errorf("the reason of phase %s is %q", phase, got.Status.Reason)
	}
	return got
}

// wantWaiting compares the reason of a new restore. The message must not repeat that it waits.
func (r *restores) wantWaiting(name string, reason resticv1.WaitingReason, messages ...string) {
	r.T.Helper()
	got := r.want(name, resticv1.PhaseNew, messages...)
	if got.Status.Reason != reason || strings.HasPrefix(got.Status.Message, "waiting") {
		r.T.Errorf("reason %q, message %q, want reason %q", got.Status.Reason, got.Status.Message, reason)
	}
}

func (r *restores) wantAsked(count int) {
	r.T.Helper()
	if len(r.Asked) != count {
		r.T.Fatalf("%d transfers were started, want %d", len(r.Asked), count)
	}
}

func (r *restores) wantMarker(podName, want string) {
	r.T.Helper()
	got := r.markers.written[podName+"/data/"+agenttest.RestoreUID]
	if !strings.HasPrefix(got, want) || (want == "") != (got == "") {
		r.T.Errorf("the marker for pod %s is %q, want %q", podName, got, want)
	}
}

func (r *restores) wantNoJob(name string) {
	r.T.Helper()
	if state, found := r.reconciler.Jobs.State(agenttest.Velero + "/" + name); found {
		r.T.Errorf("a job of %s is left: %+v", name, state)
	}
}

func goodRestore() transfer.RestoreOutcome {
	return transfer.RestoreOutcome{
		SnapshotID: "full snapshot", TotalBytes: 1000, Warnings: restic.Warnings{Count: 1, First: []string{"lchown"}},
	}
}

func TestRestoreCompletes(t *testing.T) {
	agenttest.InBubbles(t, map[string]func(*testing.T){"from a pod that waits to markers that are removed": func(t *testing.T) {
		object := agenttest.PodVolumeRestore(agenttest.RestoreName, "web")
		object.Spec.Warnings = []string{"of the plugin"}
		r := newRestores(t, agenttest.RestoredPod("web", agenttest.Waiting("ImagePullBackOff")), object)
		r.wantWaiting(agenttest.RestoreName, resticv1.WaitingForInitContainer,
			"init container restic-restore-wait is not running", "ImagePullBackOff")
		writes := r.Writes[agenttest.RestoreName]
		r.lookAt(agenttest.RestoreName)
		if r.Writes[agenttest.RestoreName] != writes {
			t.Error("the status was written again, though nothing has changed")
		}
		r.wantAsked(0)
		r.setHelper("web", agenttest.Running())
		r.lookAt(agenttest.RestoreName)
		r.wantAsked(1)
		got := r.Asked[0]
		if got.SnapshotID != "snapshot" || got.SnapshotTags[contract.TagBackupUID] != "backup-1" || !got.Sparse ||
			got.Repository != (transfer.Repository{Location: agenttest.Location, Namespace: agenttest.Shop}) ||
			got.Volume.PV == nil || got.Volume.Pod.Name != "web" {
			t.Errorf("asked for %+v", got)
		}
		started := r.want(agenttest.RestoreName, resticv1.PhaseInProgress).Status
		if started.Node != agenttest.Node || started.Attempts != 1 || started.Message != "" {
			t.Errorf("in progress: %+v", started)
		}
		r.wantMarker("web", "")
		r.Answer(goodRestore(), nil)
		done := r.want(agenttest.RestoreName, resticv1.PhaseCompleted).Status
		if done.SnapshotID != "full snapshot" || done.WarningCount != 2 || done.Warnings[0] != "of the plugin" || done.Progress.BytesDone != 1000 ||
			done.MarkerRemoved || done.CompletionTimestamp == nil {
			t.Errorf("completed: %+v", done)
		}
		if again := r.lookAt(agenttest.RestoreName); again <= 0 {
			t.Error("the pod is not looked after until its init container is gone")
		}
		r.wantMarker("web", "done")
		r.setHelper("web", terminated())
		if !r.want(agenttest.RestoreName, resticv1.PhaseCompleted).Status.MarkerRemoved || len(r.markers.written) != 0 {
			t.Errorf("the marker is left: %v", r.markers.written)
		}
		r.lookAt(agenttest.RestoreName)
		if got := r.markers.removed["web/data/"+agenttest.RestoreUID]; got != 1 {
			t.Errorf("the marker was removed %d times", got)
		}
		agenttest.WantEvents(t, r.Events(), "Normal Started restic restore of volume data: InProgress",
			"Warning CompletedWithWarnings restic restore of volume data: Completed, 2 warnings, the first: of the plugin")
		r.wantNoJob(agenttest.RestoreName)
	}})
}

func TestRestoreFails(t *testing.T) {
	atWork := func(t *testing.T) *restores {
		t.Helper()
		r := newRestores(t, agenttest.RestoredPod("web", agenttest.Running()), agenttest.PodVolumeRestore(agenttest.RestoreName, "web"))
		r.lookAt(agenttest.RestoreName)
		r.want(agenttest.RestoreName, resticv1.PhaseInProgress)
		return r
	}
	agenttest.InBubbles(t, map[string]func(*testing.T){
		"a transfer that fails: the pod learns the reason": func(t *testing.T) {
			r := atWork(t)
			r.Answer(transfer.RestoreOutcome{}, errors.New("no such snapshot"))
			r.want(agenttest.RestoreName, resticv1.PhaseFailed, "no such snapshot")
			r.lookAt(agenttest.RestoreName)
			r.wantMarker("web", "Failed: no such snapshot")
			r.setHelper("web", terminated())
			if !r.want(agenttest.RestoreName, resticv1.PhaseFailed).Status.MarkerRemoved {
				t.Error("the marker is left")
			}
		},
		"canceled: the pod learns it": func(t *testing.T) {
			r := atWork(t)
			object := r.Restore(agenttest.RestoreName)
			object.Spec.Cancel = true
			r.Update(object)
			r.lookAt(agenttest.RestoreName)
			r.want(agenttest.RestoreName, resticv1.PhaseCanceled, "canceled on request")
			r.lookAt(agenttest.RestoreName)
			r.wantMarker("web", "Canceled: canceled on request")
			r.wantNoJob(agenttest.RestoreName)
		},
		"ended by the leader: the transfer is stopped and the pod learns it": func(t *testing.T) {
			r := atWork(t)
			object := r.Restore(agenttest.RestoreName)
			object.Status.Phase, object.Status.Message = resticv1.PhaseFailed, "given up"
			r.UpdateStatus(object)
			for range 3 {
				r.lookAt(agenttest.RestoreName)
			}
			r.wantMarker("web", "Failed: given up")
			r.wantNoJob(agenttest.RestoreName)
		},
		"past its deadline": func(t *testing.T) {
			r := atWork(t)
			agenttest.Sleep(4*time.Hour + time.Second)
			r.lookAt(agenttest.RestoreName)
			r.want(agenttest.RestoreName, resticv1.PhaseCanceled, "deadline")
		},
		"canceled while the init container waits": func(t *testing.T) {
			restore := agenttest.PodVolumeRestore(agenttest.RestoreName, "web")
			restore.Spec.Cancel = true
			r := newRestores(t, agenttest.RestoredPod("web", agenttest.Waiting("PodInitializing")), restore)
			r.want(agenttest.RestoreName, resticv1.PhaseCanceled)
			r.setHelper("web", agenttest.Running())
			r.lookAt(agenttest.RestoreName)
			r.wantMarker("web", "Canceled")
			r.wantAsked(0)
		},
		"past its deadline while the init container waits again after a restart of the node": func(t *testing.T) {
			r := atWork(t)
			r.stopAgent()
			r.lookAt(agenttest.RestoreName)
			r.startAgent()
			r.setHelper("web", agenttest.Waiting("ImagePullBackOff"))
			agenttest.Sleep(4*time.Hour + time.Second)
			r.want(agenttest.RestoreName, resticv1.PhaseCanceled, "deadline")
		},
		"the pod was deleted": func(t *testing.T) {
			r := atWork(t)
			r.Remove(agenttest.Pod("web"))
			r.want(agenttest.RestoreName, resticv1.PhaseFailed, "pod shop/web was deleted")
			r.lookAt(agenttest.RestoreName)
			r.wantNoJob(agenttest.RestoreName)
		},
		"the init container has given up: nothing is touched beside restic, then all is cleaned up": func(t *testing.T) {
			r := newRestores(t, agenttest.RestoredPod("web", agenttest.Running()), agenttest.PodVolumeRestore(agenttest.RestoreName, "web"))
			r.Stubborn = true
			r.lookAt(agenttest.RestoreName)
			r.setHelper("web", terminated())
			r.want(agenttest.RestoreName, resticv1.PhaseFailed, "init container restic-restore-wait of pod shop/web ended")
			r.lookAt(agenttest.RestoreName)
			if len(r.markers.removed) != 0 {
				t.Error("the marker was removed while restic was at work")
			}
			r.Answer(transfer.RestoreOutcome{}, restic.ErrCanceled)
			if !r.want(agenttest.RestoreName, resticv1.PhaseFailed).Status.MarkerRemoved {
				t.Error("the marker is left")
			}
			r.wantNoJob(agenttest.RestoreName)
		},
		"a marker that cannot be written is tried again": func(t *testing.T) {
			r := atWork(t)
			r.Answer(goodRestore(), nil)
			r.want(agenttest.RestoreName, resticv1.PhaseCompleted)
			r.markers.err = errors.New("no space")
			if _, err := agenttest.TryReconcile(r.World, r.reconciler, agenttest.RestoreName); !errors.Is(err, r.markers.err) {
				t.Errorf("got %v", err)
			}
			r.markers.err = nil
			r.lookAt(agenttest.RestoreName)
			r.wantMarker("web", "done")
		},
		"a repository that is not ready": func(t *testing.T) {
			r := newRestores(t, agenttest.RestoredPod("web", agenttest.Running()), agenttest.PodVolumeRestore(agenttest.RestoreName, "web"))
			r.SetRepository(resticv1.RepositoryNotReady, "make a Secret")
			r.wantWaiting(agenttest.RestoreName, resticv1.WaitingForRepository, "make a Secret")
			agenttest.Sleep(time.Minute + time.Second)
			r.want(agenttest.RestoreName, resticv1.PhaseFailed, "make a Secret")
			r.lookAt(agenttest.RestoreName)
			r.wantMarker("web", "Failed: ")
		},
		"a claim that is gone": func(t *testing.T) {
			r := newRestores(t, agenttest.RestoredPod("web", agenttest.Running()), agenttest.PodVolumeRestore(agenttest.RestoreName, "web"))
			r.Remove(agenttest.Storage()[0])
			r.want(agenttest.RestoreName, resticv1.PhaseFailed, "shop/data-web")
		},
	})
}

func TestRestoreOnOtherNode(t *testing.T) {
	ofAnotherRestore := agenttest.RestoredPod("web", agenttest.Running())
	ofAnotherRestore.Spec.InitContainers[0].Args = []string{"another-uid"}
	skipped := agenttest.PodVolumeRestore(agenttest.RestoreName, "web")
	skipped.Spec.Skip = &resticv1.SkipReason{Reason: "Block", Message: "no"}
	cases := map[string][]client.Object{
		"the pod is not there yet":                   {agenttest.PodVolumeRestore(agenttest.RestoreName, "web")},
		"the pod has no init container of ours":      {agenttest.Pod("web"), agenttest.PodVolumeRestore(agenttest.RestoreName, "web")},
		"the pod is that of another restore":         {ofAnotherRestore, agenttest.PodVolumeRestore(agenttest.RestoreName, "web")},
		"it is to be skipped, which the leader does": {agenttest.RestoredPod("web", agenttest.Running()), skipped},
	}
	tests := map[string]func(*testing.T){}
	for name, objects := range cases {
		tests[name] = func(t *testing.T) {
			r := newRestores(t, objects...)
			r.want(agenttest.RestoreName, "")
			r.wantAsked(0)
			if len(r.markers.written) != 0 || r.Writes[agenttest.RestoreName] != 0 {
				t.Errorf("markers %v, %d writes", r.markers.written, r.Writes[agenttest.RestoreName])
			}
		}
	}
	agenttest.InBubbles(t, tests)
}

func TestRestoreIsRepeated(t *testing.T) {
	agenttest.InBubbles(t, map[string]func(*testing.T){
		"after the agent was restarted in each phase": func(t *testing.T) {
			r := newRestores(t, agenttest.RestoredPod("web", agenttest.Running()), agenttest.PodVolumeRestore(agenttest.RestoreName, "web"))
			r.lookAt(agenttest.RestoreName)
			r.stopAgent() // after the attempt was counted
			r.lookAt(agenttest.RestoreName)
			r.startAgent()
			agenttest.Sleep(time.Minute)
			r.lookAt(agenttest.RestoreName)
			r.want(agenttest.RestoreName, resticv1.PhaseInProgress)
			r.startAgent() // in progress
			r.lookAt(agenttest.RestoreName)
			r.wantAsked(1)
			r.Answer(goodRestore(), nil)
			if got := r.want(agenttest.RestoreName, resticv1.PhaseCompleted).Status.Attempts; got != 3 {
				t.Errorf("%d attempts", got)
			}
			r.startAgent() // before the pod was told
			r.lookAt(agenttest.RestoreName)
			r.wantMarker("web", "done")
			r.startAgent() // before the marker was removed
			r.setHelper("web", terminated())
			if !r.want(agenttest.RestoreName, resticv1.PhaseCompleted).Status.MarkerRemoved {
				t.Error("the marker is left")
			}
			r.wantAsked(0)
		},
		"not after a conflict at the end": func(t *testing.T) {
			r := newRestores(t, agenttest.RestoredPod("web", agenttest.Running()), agenttest.PodVolumeRestore(agenttest.RestoreName, "web"))
			r.lookAt(agenttest.RestoreName)
			r.Answer(goodRestore(), nil)
			kind := schema.GroupResource{Resource: "podvolumerestores"}
			r.Refuse = func(client.Object) error {
				return apierrors.NewConflict(kind, agenttest.RestoreName, errors.New("changed"))
			}
			r.lookAt(agenttest.RestoreName)
			r.wantMarker("web", "")
			r.Refuse = nil
			r.want(agenttest.RestoreName, resticv1.PhaseCompleted)
			r.wantAsked(1)
		},
		"not when its attempts are used up": func(t *testing.T) {
			restore := agenttest.PodVolumeRestore(agenttest.RestoreName, "web")
			restore.Status.Phase, restore.Status.Attempts = resticv1.PhaseInProgress, 3
			r := newRestores(t, agenttest.RestoredPod("web", agenttest.Running()), restore)
			r.want(agenttest.RestoreName, resticv1.PhaseFailed, "given up after 3 attempts")
			r.lookAt(agenttest.RestoreName)
			r.wantMarker("web", "Failed: given up after 3 attempts")
		},
	})
}

func TestSharedClaim(t *testing.T) {
	two := func(t *testing.T, first *resticv1.PodVolumeRestore) *restores {
		t.Helper()
		return newRestores(t, agenttest.RestoredPod("web", agenttest.Running()), agenttest.RestoredPod("web-2", agenttest.Running()), first,
			agenttest.PodVolumeRestore("pvr-2", "web-2"))
	}
	agenttest.InBubbles(t, map[string]func(*testing.T){
		"it is restored once, and the other pod waits for that": func(t *testing.T) {
			r := two(t, agenttest.PodVolumeRestore(agenttest.RestoreName, "web"))
			r.lookAt(agenttest.RestoreName)
			r.lookAt("pvr-2")
			r.want(agenttest.RestoreName, resticv1.PhaseInProgress)
			r.wantWaiting("pvr-2", resticv1.WaitingForSiblingRestore, "is being restored with pod web")
			writes := r.Writes["pvr-2"]
			for range 3 {
				r.lookAt("pvr-2")
			}
			if r.Writes["pvr-2"] != writes {
				t.Errorf("%d more writes while nothing has changed", r.Writes["pvr-2"]-writes)
			}
			r.Answer(goodRestore(), nil)
			r.want(agenttest.RestoreName, resticv1.PhaseCompleted)
			for range 3 {
				r.lookAt("pvr-2")
				agenttest.Sleep(5 * time.Second)
			}
			if got := r.want("pvr-2", resticv1.PhaseCompleted).Status.SnapshotID; got != "full snapshot" {
				t.Errorf("the snapshot is %q", got)
			}
			r.lookAt("pvr-2")
			r.wantMarker("web-2", "done")
			r.wantAsked(1)
		},
		"while the first one waits for its turn, the other one does not write again and again": func(t *testing.T) {
			r := two(t, agenttest.PodVolumeRestore(agenttest.RestoreName, "web"))
			r.Create(agenttest.RestoredPod("busy", agenttest.Running()))
			busy := agenttest.PodVolumeRestore("pvr-busy", "busy")
			busy.Spec.PVC, busy.Spec.Volume = "", "cache"
			r.Create(busy)
			r.lookAt("pvr-busy")
			r.lookAt(agenttest.RestoreName)
			r.lookAt("pvr-2")
			writes := r.Writes["pvr-2"]
			for range 3 {
				r.lookAt("pvr-2")
			}
			if got := r.Restore("pvr-2").Status; r.Writes["pvr-2"] != writes || got.Attempts != 0 {
				t.Errorf("%d more writes, %d attempts", r.Writes["pvr-2"]-writes, got.Attempts)
			}
			r.wantAsked(1)
		},
		"the other pod's restore is begun when the first one has failed": func(t *testing.T) {
			r := two(t, agenttest.PodVolumeRestore(agenttest.RestoreName, "web"))
			r.lookAt(agenttest.RestoreName)
			r.lookAt("pvr-2")
			r.Answer(transfer.RestoreOutcome{}, errors.New("the disk is on fire"))
			r.want(agenttest.RestoreName, resticv1.PhaseFailed)
			r.lookAt("pvr-2")
			r.wantAsked(2)
			r.Answer(goodRestore(), nil)
			r.want("pvr-2", resticv1.PhaseCompleted)
		},
		"an attempt on another node is seen, though it is not in progress yet": func(t *testing.T) {
			elsewhere := agenttest.PodVolumeRestore(agenttest.RestoreName, "web")
			elsewhere.Status.Phase, elsewhere.Status.Attempts, elsewhere.Status.Node = resticv1.PhaseNew, 1, "node-2"
			r := two(t, elsewhere)
			r.wantWaiting("pvr-2", resticv1.WaitingForSiblingRestore, "is being restored with pod web")
			r.wantAsked(0)
		},
		"an attempt on another node that the cache does not know yet is seen before it is too late": func(t *testing.T) {
			r := two(t, agenttest.PodVolumeRestore(agenttest.RestoreName, "web"))
			server := agenttest.New(t, agenttest.Storage()...)
			elsewhere := agenttest.PodVolumeRestore(agenttest.RestoreName, "web")
			elsewhere.Status.Phase, elsewhere.Status.Attempts = resticv1.PhaseNew, 1
			server.Create(elsewhere)
			server.UpdateStatus(elsewhere)
			r.reconciler.Reader = server.Client
			if got := r.want("pvr-2", resticv1.PhaseNew, "claim data-web", "pod web").Status.Attempts; got != 0 {
				t.Errorf("%d attempts are counted", got)
			}
			r.wantAsked(0)
		},
		"an init container that has gone by the other pod's marker has its volume": func(t *testing.T) {
			done := agenttest.PodVolumeRestore(agenttest.RestoreName, "web")
			done.Status.Phase, done.Status.Attempts = resticv1.PhaseCompleted, 1
			done.Status.SnapshotID = "full snapshot"
			r := newRestores(t, agenttest.RestoredPod("web", terminated()), agenttest.RestoredPod("web-2", terminated()), done,
				agenttest.PodVolumeRestore("pvr-2", "web-2"))
			if got := r.want("pvr-2", resticv1.PhaseCompleted).Status.SnapshotID; got != "full snapshot" {
				t.Errorf("the snapshot is %q", got)
			}
			r.wantAsked(0)
		},
		"an init container that has failed has no volume, whatever the other pod has": func(t *testing.T) {
			done := agenttest.PodVolumeRestore(agenttest.RestoreName, "web")
			done.Status.Phase, done.Status.Attempts = resticv1.PhaseCompleted, 1
			failed := terminated()
			failed.Terminated.ExitCode = 1
			r := newRestores(t, agenttest.RestoredPod("web", terminated()), agenttest.RestoredPod("web-2", failed), done,
				agenttest.PodVolumeRestore("pvr-2", "web-2"))
			r.want("pvr-2", resticv1.PhaseFailed, "ended before")
		},
		"claims of other restores and other claims do not wait": func(t *testing.T) {
			other := agenttest.PodVolumeRestore(agenttest.RestoreName, "web")
			other.Spec.RestoreUID = "another-uid"
			other.Status.Phase, other.Status.Attempts = resticv1.PhaseInProgress, 1
			r := two(t, other)
			r.lookAt("pvr-2")
			r.wantAsked(1)
			if diff := cmp.Diff("web-2", r.Asked[0].Volume.Pod.Name); diff != "" {
				t.Error(diff)
			}
		},
	})
}

func claimsOf(o client.Object) []string {
	if restore, ok := o.(*resticv1.PodVolumeRestore); ok && claimKey(restore) != "" {
		return []string{claimKey(restore)}
	}
	return nil
}
