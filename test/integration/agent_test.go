// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/velero-restic/velero-plugin-for-restic/agent/event"
	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/agent/volume"
	"github.com/velero-restic/velero-plugin-for-restic/agent/volume/backup"
	"github.com/velero-restic/velero-plugin-for-restic/agent/worker"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/repository"
)

// agentNamespace makes a namespace for one test.
func agentNamespace(t *testing.T) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "agent-"}}
	createAll(t, namespace)
	return namespace.Name
}

func createAll(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := shared.client.Create(t.Context(), object); err != nil {
			t.Fatalf("creating %T %s: %v", object, object.GetName(), err)
		}
	}
}

func volumeBackup(namespace, name, node string, pod *corev1.Pod) *resticv1.PodVolumeBackup {
	backup := &resticv1.PodVolumeBackup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	backup.Spec = resticv1.PodVolumeBackupSpec{
		Node: node, Volume: "data", BackupStorageLocation: "default",
		Pod:        corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: "web"},
		Repository: contract.RepositoryName(namespace, "default"), Timeout: metav1.Duration{Duration: time.Hour},
	}
	if pod != nil {
		backup.Spec.Pod.UID = pod.UID
	}
	return backup
}

// startNode runs the controller of PodVolumeBackups of a node until the test ends, with a cache as the agent's.
func startNode(t *testing.T, namespace, node string, run backupFunc) {
	t.Helper()
	own := map[string]cache.Config{namespace: {}}
	repeated := true
	options := ctrl.Options{
		Scheme: shared.client.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"},
		Cache: cache.Options{
			DefaultNamespaces: own, ReaderFailOnMissingInformer: true,
			ByObject: map[client.Object]cache.ByObject{&resticv1.PodVolumeBackup{}: {
				Namespaces: own, Field: fields.OneTermEqualSelector("spec.node", node),
			}},
		},
	}
	options.Controller.SkipNameValidation = &repeated
	manager, err := ctrl.NewManager(shared.config, options)
	if err != nil {
		t.Fatal(err)
	}
	counters, err := metric.New(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	wakeup := worker.NewWakeup()
	jobs := transfer.NewPool[transfer.BackupOutcome](1, wakeup.Changed)
	reconciler := &backup.Reconciler{
		NodeOptions: volume.NodeOptions{
			Client: manager.GetClient(), Reader: manager.GetAPIReader(), Node: node, Namespace: namespace,
			Announcer:      &event.Announcer{Recorder: record.NewFakeRecorder(1000), Metrics: counters},
			RepositoryWait: time.Minute, ProgressInterval: 100 * time.Millisecond, Clock: clock.RealClock{},
		},
		Jobs: jobs, Backup: run,
	}
	if err := reconciler.SetupWithManager(t.Context(), manager, wakeup); err != nil {
		t.Fatal(err)
	}
	if err := manager.Add(jobs); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- manager.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Errorf("the node ended with %v", err)
		}
	})
}

type backupFunc func(
	context.Context, transfer.BackupRequest, func(transfer.Progress),
) (transfer.BackupOutcome, error)

// waitFor reads an object again and again until it is as wanted.
func waitFor[T client.Object](t *testing.T, object T, what string, wanted func(T) bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err := shared.client.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
			t.Fatal(err)
		}
		if wanted(object) {
			return
		}
	}
	t.Fatalf("%T %s is not %s: %+v", object, object.GetName(), what, object)
}

func TestAgentTakesItsOwnNodesBackups(t *testing.T) {
	namespace := agentNamespace(t)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "main", Image: "example.com/web"}},
			Volumes: []corev1.Volume{{
				Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
			}},
		},
	}
	createAll(t, pod)
	ready := repository.ForNamespace(namespace, namespace, "default", 0)
	createAll(t, ready)
	mine, foreign := volumeBackup(namespace, "mine", "node-1", pod), volumeBackup(namespace, "foreign", "node-2", pod)
	canceled := volumeBackup(namespace, "canceled", "node-1", pod)
	canceled.Spec.Cancel = true
	createAll(t, foreign, mine, canceled)
	startNode(t, namespace, "node-1", func(
		_ context.Context, request transfer.BackupRequest, report func(transfer.Progress),
	) (transfer.BackupOutcome, error) {
		report(transfer.Progress{BytesDone: 1, TotalBytes: 2})
		return transfer.BackupOutcome{
			SnapshotID: "snapshot of " + request.Tags[contract.TagPodVolumeBackup], Path: "/host_pods/x",
		}, nil
	})
	waitFor(t, mine, "waiting for its repository", func(b *resticv1.PodVolumeBackup) bool {
		return strings.Contains(b.Status.Message, "repository")
	})
	// The repository's event wakes what waits for it.
	ready.Status.Phase = resticv1.RepositoryReady
	if err := shared.client.Status().Update(t.Context(), ready); err != nil {
		t.Fatal(err)
	}
	waitFor(t, mine, "completed", func(b *resticv1.PodVolumeBackup) bool {
		return b.Status.Phase == resticv1.PhaseCompleted
	})
	if mine.Status.SnapshotID != "snapshot of mine" || mine.Status.Attempts != 1 || mine.Status.StartTimestamp == nil ||
		mine.Status.CompletionTimestamp == nil {
		t.Errorf("the status is %+v", mine.Status)
	}
	waitFor(t, canceled, "canceled", func(b *resticv1.PodVolumeBackup) bool {
		return b.Status.Phase == resticv1.PhaseCanceled
	})
	if err := shared.client.Get(t.Context(), client.ObjectKeyFromObject(foreign), foreign); err != nil {
		t.Fatal(err)
	}
	if foreign.Status.Phase != "" {
		t.Errorf("the other node's backup was touched: %+v", foreign.Status)
	}
}

// TestAPIServerKeeps tries what the agent relies on the API server to do.
func TestAPIServerKeeps(t *testing.T) {
	cases := map[string]func(t *testing.T, backup *resticv1.PodVolumeBackup){
		"a status is not made with its object": func(t *testing.T, backup *resticv1.PodVolumeBackup) {
			if backup.Status.Phase != "" {
				t.Errorf("the phase is %s", backup.Status.Phase)
			}
		},
		"the volume cannot be changed": func(t *testing.T, backup *resticv1.PodVolumeBackup) {
			backup.Spec.Volume = "other"
			err := shared.client.Update(t.Context(), backup)
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "create another PodVolumeBackup") {
				t.Errorf("got %v", err)
			}
		},
		"cancel and forget can": func(t *testing.T, backup *resticv1.PodVolumeBackup) {
			backup.Spec.Cancel, backup.Spec.Forget = true, true
			if err := shared.client.Update(t.Context(), backup); err != nil {
				t.Error(err)
			}
		},
		"a phase that there is not is refused": func(t *testing.T, backup *resticv1.PodVolumeBackup) {
			backup.Status.Phase = "Sleeping"
			if err := shared.client.Status().Update(t.Context(), backup); !apierrors.IsInvalid(err) {
				t.Errorf("got %v", err)
			}
		},
		"no more warnings than the agent keeps": func(t *testing.T, backup *resticv1.PodVolumeBackup) {
			backup.Status.Warnings = make([]string, resticv1.MaxWarnings+1)
			if err := shared.client.Status().Update(t.Context(), backup); !apierrors.IsInvalid(err) {
				t.Errorf("got %v", err)
			}
			backup.Status.Warnings = make([]string, resticv1.MaxWarnings)
			if err := shared.client.Status().Update(t.Context(), backup); err != nil {
				t.Error(err)
			}
		},
		"a status patch from a copy that is behind is a conflict": func(t *testing.T, backup *resticv1.PodVolumeBackup) {
			behind := backup.DeepCopy()
			backup.Spec.Cancel = true
			if err := shared.client.Update(t.Context(), backup); err != nil {
				t.Fatal(err)
			}
			patch := client.MergeFromWithOptions(behind.DeepCopy(), client.MergeFromWithOptimisticLock{})
			behind.Status.Phase = resticv1.PhaseInProgress
			if err := shared.client.Status().Patch(t.Context(), behind, patch); !apierrors.IsConflict(err) {
				t.Errorf("got %v", err)
			}
		},
		"they can be selected by node": func(t *testing.T, backup *resticv1.PodVolumeBackup) {
			createAll(t, volumeBackup(backup.Namespace, "of-node-2", "node-2", nil))
			list := &resticv1.PodVolumeBackupList{}
			if err := shared.client.List(t.Context(), list, client.InNamespace(backup.Namespace),
				client.MatchingFields{"spec.node": "node-1"}); err != nil {
				t.Fatal(err)
			}
			if len(list.Items) != 1 || list.Items[0].Name != backup.Name {
				t.Errorf("node-1 has %d backups", len(list.Items))
			}
		},
	}
	for name, check := range cases {
		t.Run(name, func(t *testing.T) {
			backup := volumeBackup(agentNamespace(t), "pvb-1", "node-1", nil)
			backup.Status.Phase = resticv1.PhaseCompleted
			createAll(t, backup)
			check(t, backup)
		})
	}
}
