// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package controller

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/hostpath"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

const (
	pvr        = "pvr-1"
	restoreUID = "restore-uid-1"
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
	*world
	*script[transfer.RestoreRequest, transfer.RestoreOutcome]

	markers    *markers
	reconciler *RestoreReconciler
	stopAgent  func()
}

func newRestores(t *testing.T, objects ...client.Object) *restores {
	t.Helper()
	r := &restores{
		world:   newWorld(t, append(storage(), objects...)...),
		markers: &markers{written: map[string]string{}, removed: map[string]int{}},
	}
	r.setRepository(resticv1.RepositoryReady, "")
	r.startAgent()
	return r
}

func (r *restores) startAgent() {
	r.script = newScript[transfer.RestoreRequest, transfer.RestoreOutcome]()
	pool, stop := startPool[transfer.RestoreOutcome](r.t, 1)
	r.stopAgent = stop
	r.reconciler = &RestoreReconciler{NodeOptions: r.nodeOptions(), Jobs: pool, Restore: r.run, Markers: r.markers}
}

func podVolumeRestore(name, podName string) *resticv1.PodVolumeRestore {
	restore := &resticv1.PodVolumeRestore{ObjectMeta: objectMeta(velero, name)}
	restore.Labels = map[string]string{contract.LabelRestoreUID: restoreUID}
	restore.Spec = resticv1.PodVolumeRestoreSpec{
		Pod: corev1.ObjectReference{Kind: "Pod", Namespace: shop, Name: podName}, Volume: "data", PVC: "data-web",
		BackupStorageLocation: location, Repository: contract.RepositoryName(shop, location), SourceNamespace: shop,
		SnapshotID: "snapshot", SnapshotTags: map[string]string{contract.TagBackupUID: "backup-1"}, RestoreUID: restoreUID,
		Timeout: metav1.Duration{Duration: 4 * time.Hour}, WriteSparseFiles: true,
	}
	return restore
}

func waiting(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
}

func running() corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
}

func terminated() corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}
}

// restoredPod is a pod with this restore's init container.
func restoredPod(name string, state corev1.ContainerState) *corev1.Pod {
	object := pod(name)
	object.Spec.InitContainers = []corev1.Container{{
		Name: contract.RestoreContainer, Command: []string{contract.RestoreHelperCommand}, Args: []string{restoreUID},
	}}
	object.Status.InitContainerStatuses = []corev1.ContainerStatus{
		{Name: "another", State: running()}, {Name: contract.RestoreContainer, State: state},
	}
	return object
}

func (r *restores) setHelper(podName string, state corev1.ContainerState) {
	r.t.Helper()
	object := &corev1.Pod{}
	if err := r.client.Get(r.t.Context(), client.ObjectKey{Namespace: shop, Name: podName}, object); err != nil {
		r.t.Fatal(err)
	}
	object.Status.InitContainerStatuses[1].State = state
	r.updateStatus(object)
}

func (r *restores) lookAt(name string) time.Duration {
	r.t.Helper()
	return look(r.world, r.reconciler, name).RequeueAfter
}

func (r *restores) want(name string, phase resticv1.VolumePhase, messages ...string) *resticv1.PodVolumeRestore {
	r.t.Helper()
	r.lookAt(name)
	got := r.restore(name)
	if got.Status.Phase != phase {
		r.t.Fatalf("the phase of %s is %q (%s), want %q", name, got.Status.Phase, got.Status.Message, phase)
	}
	for _, part := range messages {
		if !strings.Contains(got.Status.Message, part) {
			r.t.Errorf("the message is %q, want %q in it", got.Status.Message, part)
		}
	}
	return got
}

func (r *restores) wantAsked(count int) {
	r.t.Helper()
	if len(r.asked) != count {
		r.t.Fatalf("%d transfers were started, want %d", len(r.asked), count)
	}
}

func (r *restores) wantMarker(podName, want string) {
	r.t.Helper()
	got := r.markers.written[podName+"/data/"+restoreUID]
	if !strings.HasPrefix(got, want) || (want == "") != (got == "") {
		r.t.Errorf("the marker for pod %s is %q, want %q", podName, got, want)
	}
}

func (r *restores) wantNoJob(name string) {
	r.t.Helper()
	if state, found := r.reconciler.Jobs.State(velero + "/" + name); found {
		r.t.Errorf("a job of %s is left: %+v", name, state)
	}
}

func goodRestore() transfer.RestoreOutcome {
	return transfer.RestoreOutcome{
		SnapshotID: "full snapshot", TotalBytes: 1000, Warnings: restic.Warnings{Count: 1, First: []string{"lchown"}},
	}
}

func TestRestoreCompletes(t *testing.T) {
	bubbles(t, map[string]func(*testing.T){"from a pod that waits to markers that are removed": func(t *testing.T) {
		object := podVolumeRestore(pvr, "web")
		object.Spec.Warnings = []string{"of the plugin"}
		r := newRestores(t, restoredPod("web", waiting("ImagePullBackOff")), object)
		r.want(pvr, resticv1.PhaseNew, "waiting for init container restic-restore-wait", "ImagePullBackOff")
		writes := r.writes[pvr]
		r.lookAt(pvr)
		if r.writes[pvr] != writes {
			t.Error("the status was written again, though nothing has changed")
		}
		r.wantAsked(0)
		r.setHelper("web", running())
		r.lookAt(pvr)
		r.wantAsked(1)
		got := r.asked[0]
		if got.SnapshotID != "snapshot" || got.SnapshotTags[contract.TagBackupUID] != "backup-1" || !got.Sparse ||
			got.Repository != (transfer.Repository{Location: location, Namespace: shop}) ||
			got.Volume.PV == nil || got.Volume.Pod.Name != "web" {
			t.Errorf("asked for %+v", got)
		}
		started := r.want(pvr, resticv1.PhaseInProgress).Status
		if started.Node != thisNode || started.Attempts != 1 || started.Message != "" {
			t.Errorf("in progress: %+v", started)
		}
		r.wantMarker("web", "")
		r.answer(goodRestore(), nil)
		done := r.want(pvr, resticv1.PhaseCompleted).Status
		if done.SnapshotID != "full snapshot" || done.WarningCount != 2 || done.Warnings[0] != "of the plugin" || done.Progress.BytesDone != 1000 ||
			done.MarkerRemoved || done.CompletionTimestamp == nil {
			t.Errorf("completed: %+v", done)
		}
		if again := r.lookAt(pvr); again <= 0 {
			t.Error("the pod is not looked after until its init container is gone")
		}
		r.wantMarker("web", "done")
		r.setHelper("web", terminated())
		if !r.want(pvr, resticv1.PhaseCompleted).Status.MarkerRemoved || len(r.markers.written) != 0 {
			t.Errorf("the marker is left: %v", r.markers.written)
		}
		r.lookAt(pvr)
		if got := r.markers.removed["web/data/"+restoreUID]; got != 1 {
			t.Errorf("the marker was removed %d times", got)
		}
		wantEvents(t, r.events(), "Normal Started restic restore of volume data: InProgress",
			"Warning CompletedWithWarnings restic restore of volume data: Completed, 2 warnings, the first: of the plugin")
		r.wantNoJob(pvr)
	}})
}

func TestRestoreFails(t *testing.T) {
	atWork := func(t *testing.T) *restores {
		t.Helper()
		r := newRestores(t, restoredPod("web", running()), podVolumeRestore(pvr, "web"))
		r.lookAt(pvr)
		r.want(pvr, resticv1.PhaseInProgress)
		return r
	}
	bubbles(t, map[string]func(*testing.T){
		"a transfer that fails: the pod learns the reason": func(t *testing.T) {
			r := atWork(t)
			r.answer(transfer.RestoreOutcome{}, errors.New("no such snapshot"))
			r.want(pvr, resticv1.PhaseFailed, "no such snapshot")
			r.lookAt(pvr)
			r.wantMarker("web", "Failed: no such snapshot")
			r.setHelper("web", terminated())
			if !r.want(pvr, resticv1.PhaseFailed).Status.MarkerRemoved {
				t.Error("the marker is left")
			}
		},
		"canceled: the pod learns it": func(t *testing.T) {
			r := atWork(t)
			object := r.restore(pvr)
			object.Spec.Cancel = true
			r.update(object)
			r.lookAt(pvr)
			r.want(pvr, resticv1.PhaseCanceled, "canceled on request")
			r.lookAt(pvr)
			r.wantMarker("web", "Canceled: canceled on request")
			r.wantNoJob(pvr)
		},
		"ended by the leader: the transfer is stopped and the pod learns it": func(t *testing.T) {
			r := atWork(t)
			object := r.restore(pvr)
			object.Status.Phase, object.Status.Message = resticv1.PhaseFailed, "given up"
			r.updateStatus(object)
			for range 3 {
				r.lookAt(pvr)
			}
			r.wantMarker("web", "Failed: given up")
			r.wantNoJob(pvr)
		},
		"past its deadline": func(t *testing.T) {
			r := atWork(t)
			pass(4*time.Hour + time.Second)
			r.lookAt(pvr)
			r.want(pvr, resticv1.PhaseCanceled, "deadline")
		},
		"canceled while the init container waits": func(t *testing.T) {
			restore := podVolumeRestore(pvr, "web")
			restore.Spec.Cancel = true
			r := newRestores(t, restoredPod("web", waiting("PodInitializing")), restore)
			r.want(pvr, resticv1.PhaseCanceled)
			r.setHelper("web", running())
			r.lookAt(pvr)
			r.wantMarker("web", "Canceled")
			r.wantAsked(0)
		},
		"past its deadline while the init container waits again after a restart of the node": func(t *testing.T) {
			r := atWork(t)
			r.stopAgent()
			r.lookAt(pvr)
			r.startAgent()
			r.setHelper("web", waiting("ImagePullBackOff"))
			pass(4*time.Hour + time.Second)
			r.want(pvr, resticv1.PhaseCanceled, "deadline")
		},
		"the pod was deleted": func(t *testing.T) {
			r := atWork(t)
			r.remove(pod("web"))
			r.want(pvr, resticv1.PhaseFailed, "pod shop/web was deleted")
			r.lookAt(pvr)
			r.wantNoJob(pvr)
		},
		"the init container has given up: nothing is touched beside restic, then all is cleaned up": func(t *testing.T) {
			r := newRestores(t, restoredPod("web", running()), podVolumeRestore(pvr, "web"))
			r.stubborn = true
			r.lookAt(pvr)
			r.setHelper("web", terminated())
			r.want(pvr, resticv1.PhaseFailed, "init container restic-restore-wait of pod shop/web ended")
			r.lookAt(pvr)
			if len(r.markers.removed) != 0 {
				t.Error("the marker was removed while restic was at work")
			}
			r.answer(transfer.RestoreOutcome{}, restic.ErrCanceled)
			if !r.want(pvr, resticv1.PhaseFailed).Status.MarkerRemoved {
				t.Error("the marker is left")
			}
			r.wantNoJob(pvr)
		},
		"a marker that cannot be written is tried again": func(t *testing.T) {
			r := atWork(t)
			r.answer(goodRestore(), nil)
			r.want(pvr, resticv1.PhaseCompleted)
			r.markers.err = errors.New("no space")
			if _, err := attempt(r.world, r.reconciler, pvr); !errors.Is(err, r.markers.err) {
				t.Errorf("got %v", err)
			}
			r.markers.err = nil
			r.lookAt(pvr)
			r.wantMarker("web", "done")
		},
		"a repository that is not ready": func(t *testing.T) {
			r := newRestores(t, restoredPod("web", running()), podVolumeRestore(pvr, "web"))
			r.setRepository(resticv1.RepositoryNotReady, "make a Secret")
			r.want(pvr, resticv1.PhaseNew, "waiting", "make a Secret")
			pass(time.Minute + time.Second)
			r.want(pvr, resticv1.PhaseFailed, "make a Secret")
			r.lookAt(pvr)
			r.wantMarker("web", "Failed: ")
		},
		"a claim that is gone": func(t *testing.T) {
			r := newRestores(t, restoredPod("web", running()), podVolumeRestore(pvr, "web"))
			r.remove(storage()[0])
			r.want(pvr, resticv1.PhaseFailed, "shop/data-web")
		},
	})
}

func TestRestoreIsNotThisNodes(t *testing.T) {
	ofAnotherRestore := restoredPod("web", running())
	ofAnotherRestore.Spec.InitContainers[0].Args = []string{"another-uid"}
	skipped := podVolumeRestore(pvr, "web")
	skipped.Spec.Skip = &resticv1.SkipReason{Reason: "Block", Message: "no"}
	cases := map[string][]client.Object{
		"the pod is not there yet":                   {podVolumeRestore(pvr, "web")},
		"the pod has no init container of ours":      {pod("web"), podVolumeRestore(pvr, "web")},
		"the pod is that of another restore":         {ofAnotherRestore, podVolumeRestore(pvr, "web")},
		"it is to be skipped, which the leader does": {restoredPod("web", running()), skipped},
	}
	tests := map[string]func(*testing.T){}
	for name, objects := range cases {
		tests[name] = func(t *testing.T) {
			r := newRestores(t, objects...)
			r.want(pvr, "")
			r.wantAsked(0)
			if len(r.markers.written) != 0 || r.writes[pvr] != 0 {
				t.Errorf("markers %v, %d writes", r.markers.written, r.writes[pvr])
			}
		}
	}
	bubbles(t, tests)
}

func TestRestoreIsRepeated(t *testing.T) {
	bubbles(t, map[string]func(*testing.T){
		"after the agent was restarted in each phase": func(t *testing.T) {
			r := newRestores(t, restoredPod("web", running()), podVolumeRestore(pvr, "web"))
			r.lookAt(pvr)
			r.stopAgent() // after the attempt was counted
			r.lookAt(pvr)
			r.startAgent()
			pass(time.Minute)
			r.lookAt(pvr)
			r.want(pvr, resticv1.PhaseInProgress)
			r.startAgent() // in progress
			r.lookAt(pvr)
			r.wantAsked(1)
			r.answer(goodRestore(), nil)
			if got := r.want(pvr, resticv1.PhaseCompleted).Status.Attempts; got != 3 {
				t.Errorf("%d attempts", got)
			}
			r.startAgent() // before the pod was told
			r.lookAt(pvr)
			r.wantMarker("web", "done")
			r.startAgent() // before the marker was removed
			r.setHelper("web", terminated())
			if !r.want(pvr, resticv1.PhaseCompleted).Status.MarkerRemoved {
				t.Error("the marker is left")
			}
			r.wantAsked(0)
		},
		"not after a conflict at the end": func(t *testing.T) {
			r := newRestores(t, restoredPod("web", running()), podVolumeRestore(pvr, "web"))
			r.lookAt(pvr)
			r.answer(goodRestore(), nil)
			kind := schema.GroupResource{Resource: "podvolumerestores"}
			r.refuse = func(client.Object) error { return apierrors.NewConflict(kind, pvr, errors.New("changed")) }
			r.lookAt(pvr)
			r.wantMarker("web", "")
			r.refuse = nil
			r.want(pvr, resticv1.PhaseCompleted)
			r.wantAsked(1)
		},
		"not when its attempts are used up": func(t *testing.T) {
			restore := podVolumeRestore(pvr, "web")
			restore.Status.Phase, restore.Status.Attempts = resticv1.PhaseInProgress, 3
			r := newRestores(t, restoredPod("web", running()), restore)
			r.want(pvr, resticv1.PhaseFailed, "given up after 3 attempts")
			r.lookAt(pvr)
			r.wantMarker("web", "Failed: given up after 3 attempts")
		},
	})
}

func TestSharedClaim(t *testing.T) {
	two := func(t *testing.T, first *resticv1.PodVolumeRestore) *restores {
		t.Helper()
		return newRestores(t, restoredPod("web", running()), restoredPod("web-2", running()), first,
			podVolumeRestore("pvr-2", "web-2"))
	}
	bubbles(t, map[string]func(*testing.T){
		"it is restored once, and the other pod waits for that": func(t *testing.T) {
			r := two(t, podVolumeRestore(pvr, "web"))
			r.lookAt(pvr)
			r.lookAt("pvr-2")
			r.want(pvr, resticv1.PhaseInProgress)
			r.want("pvr-2", resticv1.PhaseNew, "waiting")
			writes := r.writes["pvr-2"]
			for range 3 {
				r.lookAt("pvr-2")
			}
			if r.writes["pvr-2"] != writes {
				t.Errorf("%d more writes while nothing has changed", r.writes["pvr-2"]-writes)
			}
			r.answer(goodRestore(), nil)
			r.want(pvr, resticv1.PhaseCompleted)
			for range 3 {
				r.lookAt("pvr-2")
				pass(5 * time.Second)
			}
			if got := r.want("pvr-2", resticv1.PhaseCompleted).Status.SnapshotID; got != "full snapshot" {
				t.Errorf("the snapshot is %q", got)
			}
			r.lookAt("pvr-2")
			r.wantMarker("web-2", "done")
			r.wantAsked(1)
		},
		"while the first one waits for its turn, the other one does not write again and again": func(t *testing.T) {
			r := two(t, podVolumeRestore(pvr, "web"))
			r.create(restoredPod("busy", running()))
			busy := podVolumeRestore("pvr-busy", "busy")
			busy.Spec.PVC, busy.Spec.Volume = "", "cache"
			r.create(busy)
			r.lookAt("pvr-busy")
			r.lookAt(pvr)
			r.lookAt("pvr-2")
			writes := r.writes["pvr-2"]
			for range 3 {
				r.lookAt("pvr-2")
			}
			if got := r.restore("pvr-2").Status; r.writes["pvr-2"] != writes || got.Attempts != 0 {
				t.Errorf("%d more writes, %d attempts", r.writes["pvr-2"]-writes, got.Attempts)
			}
			r.wantAsked(1)
		},
		"the other pod's restore is begun when the first one has failed": func(t *testing.T) {
			r := two(t, podVolumeRestore(pvr, "web"))
			r.lookAt(pvr)
			r.lookAt("pvr-2")
			r.answer(transfer.RestoreOutcome{}, errors.New("the disk is on fire"))
			r.want(pvr, resticv1.PhaseFailed)
			r.lookAt("pvr-2")
			r.wantAsked(2)
			r.answer(goodRestore(), nil)
			r.want("pvr-2", resticv1.PhaseCompleted)
		},
		"an attempt on another node is seen, though it is not in progress yet": func(t *testing.T) {
			elsewhere := podVolumeRestore(pvr, "web")
			elsewhere.Status.Phase, elsewhere.Status.Attempts, elsewhere.Status.Node = resticv1.PhaseNew, 1, "node-2"
			r := two(t, elsewhere)
			r.want("pvr-2", resticv1.PhaseNew, "waiting")
			r.wantAsked(0)
		},
		"an attempt on another node that the cache does not know yet is seen before it is too late": func(t *testing.T) {
			r := two(t, podVolumeRestore(pvr, "web"))
			server := newWorld(t, storage()...)
			elsewhere := podVolumeRestore(pvr, "web")
			elsewhere.Status.Phase, elsewhere.Status.Attempts = resticv1.PhaseNew, 1
			server.create(elsewhere)
			server.updateStatus(elsewhere)
			r.reconciler.Reader = server.client
			if got := r.want("pvr-2", resticv1.PhaseNew, "claim data-web", "pod web").Status.Attempts; got != 0 {
				t.Errorf("%d attempts are counted", got)
			}
			r.wantAsked(0)
		},
		"an init container that has gone by the other pod's marker has its volume": func(t *testing.T) {
			done := podVolumeRestore(pvr, "web")
			done.Status.Phase, done.Status.Attempts = resticv1.PhaseCompleted, 1
			done.Status.SnapshotID = "full snapshot"
			r := newRestores(t, restoredPod("web", terminated()), restoredPod("web-2", terminated()), done,
				podVolumeRestore("pvr-2", "web-2"))
			if got := r.want("pvr-2", resticv1.PhaseCompleted).Status.SnapshotID; got != "full snapshot" {
				t.Errorf("the snapshot is %q", got)
			}
			r.wantAsked(0)
		},
		"an init container that has failed has no volume, whatever the other pod has": func(t *testing.T) {
			done := podVolumeRestore(pvr, "web")
			done.Status.Phase, done.Status.Attempts = resticv1.PhaseCompleted, 1
			failed := terminated()
			failed.Terminated.ExitCode = 1
			r := newRestores(t, restoredPod("web", terminated()), restoredPod("web-2", failed), done,
				podVolumeRestore("pvr-2", "web-2"))
			r.want("pvr-2", resticv1.PhaseFailed, "ended before")
		},
		"claims of other restores and other claims do not wait": func(t *testing.T) {
			other := podVolumeRestore(pvr, "web")
			other.Spec.RestoreUID = "another-uid"
			other.Status.Phase, other.Status.Attempts = resticv1.PhaseInProgress, 1
			r := two(t, other)
			r.lookAt("pvr-2")
			r.wantAsked(1)
			if diff := cmp.Diff("web-2", r.asked[0].Volume.Pod.Name); diff != "" {
				t.Error(diff)
			}
		},
	})
}
