// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package podrestore

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	riav2 "github.com/vmware-tanzu/velero/pkg/plugin/velero/restoreitemaction/v2"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/stranded"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster/clustertest"
)

// server returns what every restore finds: the backup and Velero's Deployment.
func server() []client.Object {
	return []client.Object{clustertest.Backup(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: clustertest.Velero, Name: "velero"},
		Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "sidecar", Image: "x:1"}, {Name: "velero", Image: "velero/velero:v1.18.3"}},
		}}},
	}}
}

func restore() *velerov1.Restore {
	return &velerov1.Restore{
		ObjectMeta: metav1.ObjectMeta{Namespace: clustertest.Velero, Name: "back", UID: "restore-uid"},
		Spec: velerov1.RestoreSpec{
			BackupName: "nightly", NamespaceMapping: map[string]string{"app": "copy"},
			ItemOperationTimeout: metav1.Duration{Duration: time.Hour},
		},
	}
}

// backedUp returns a pod as it stands in a backup.
func backedUp(t *testing.T, volumes ...contract.TakenVolume) *corev1.Pod {
	t.Helper()
	pod := clustertest.Pod("web", [2]string{"data-volume", "data"}, [2]string{"cache", ""})
	note, err := contract.WritePodNote(contract.PodNote{BackupUID: "backup-uid", Volumes: volumes})
	if err != nil {
		t.Fatal(err)
	}
	pod.Annotations[contract.AnnotationTaken] = note
	pod.Spec.InitContainers = []corev1.Container{{Name: contract.RestoreContainer, Image: "old"}, {Name: "migrate"}}
	return pod
}

func data() contract.TakenVolume {
	return contract.TakenVolume{
		Volume: "data-volume", PodVolumeBackup: "nightly-1", PodUID: "uid-of-first", SourceVolume: "one", PVC: "data",
	}
}

type result struct {
	pod         *corev1.Pod
	operationID string
	log         *logtest.Hook
}

func execute(t *testing.T, c *cluster.Cluster, pod *corev1.Pod, restore *velerov1.Restore) (result, error) {
	t.Helper()
	log, hook := logtest.NewNullLogger()
	var action riav2.RestoreItemAction = New(log, c)
	item := clustertest.Unstructured(t, pod)
	output, err := action.Execute(&velero.RestoreItemActionExecuteInput{
		Item: item, ItemFromBackup: item.DeepCopy(), Restore: restore,
	})
	if err != nil {
		return result{}, err
	}
	out := result{pod: &corev1.Pod{}, operationID: output.OperationID, log: hook}
	err = runtime.DefaultUnstructuredConverter.FromUnstructured(output.UpdatedItem.UnstructuredContent(), out.pod)
	if err != nil || output.SkipRestore {
		t.Fatalf("output is %+v with error %v, want a pod to restore", output, err)
	}
	return out, nil
}

func warnings(hook *logtest.Hook) string {
	var lines []string
	for _, entry := range hook.AllEntries() {
		if entry.Level <= logrus.WarnLevel {
			lines = append(lines, entry.Message)
		}
	}
	return strings.Join(lines, "\n")
}

func objects(t *testing.T, c *cluster.Cluster) map[string]resticv1.PodVolumeRestore {
	t.Helper()
	var list resticv1.PodVolumeRestoreList
	if err := c.Client.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	out := map[string]resticv1.PodVolumeRestore{}
	for _, object := range list.Items {
		out[object.Spec.Volume] = object
	}
	return out
}

func TestExecute(t *testing.T) {
	taken := &resticv1.PodVolumeBackup{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: clustertest.Velero, Name: "nightly-1", Labels: map[string]string{contract.LabelBackupUID: "backup-uid"},
		},
		Status: resticv1.PodVolumeBackupStatus{
			VolumeStatus: resticv1.VolumeStatus{Phase: resticv1.PhaseCompleted}, SnapshotID: "abc123",
		},
	}
	c := clustertest.New(t, interceptor.Funcs{}, append(server(), taken)...)
	got, err := execute(t, c, backedUp(t, data()), restore())
	if err != nil {
		t.Fatal(err)
	}
	if _, noted := got.pod.Annotations[contract.AnnotationTaken]; noted {
		t.Error("the restored pod carries the note of the backup")
	}
	var names []string
	for _, container := range got.pod.Spec.InitContainers {
		names = append(names, container.Name)
	}
	if diff := cmp.Diff([]string{contract.RestoreContainer, "migrate"}, names); diff != "" {
		t.Errorf("init containers differ (-want +got):\n%s", diff)
	}
	helper := got.pod.Spec.InitContainers[0]
	if diff := cmp.Diff([]string{"--timeout=1h30m0s", "restore-uid"}, helper.Args); diff != "" {
		t.Errorf("arguments of the init container differ (-want +got):\n%s", diff)
	}
	mounts := []corev1.VolumeMount{{Name: "data-volume", MountPath: "/restores/data-volume", ReadOnly: true}}
	if diff := cmp.Diff(mounts, helper.VolumeMounts); diff != "" {
		t.Errorf("mounts of the init container differ (-want +got):\n%s", diff)
	}
	if helper.Image != "velero/velero-restic-restore-helper:v1.18.3" {
		t.Errorf("image is %s", helper.Image)
	}
	no := false
	name := contract.RestoreVolumeName("back", "restore-uid", "copy", "web", "data-volume")
	want := resticv1.PodVolumeRestore{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: clustertest.Velero, Name: name,
			Labels: map[string]string{
				"velero.io/restore-name": "back", "velero.io/restore-uid": "restore-uid", "velero.io/backup-name": "nightly",
				"velero.io/storage-location": "default", "velero.io/volume-namespace": "app",
				"velero.io/exclude-from-backup": "true",
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "velero.io/v1", Kind: "Restore", Name: "back", UID: "restore-uid",
				Controller: &no, BlockOwnerDeletion: &no,
			}},
		},
		Spec: resticv1.PodVolumeRestoreSpec{
			Pod:    corev1.ObjectReference{Kind: "Pod", Namespace: "copy", Name: "web"},
			Volume: "data-volume", PVC: "data",
			BackupStorageLocation: "default", Repository: contract.RepositoryName("app", "default"),
			SnapshotID:      "abc123",
			SnapshotTags:    map[string]string{"backup-uid": "backup-uid", "pod-uid": "uid-of-first", "volume": "one"},
			SourceNamespace: "app", RestoreUID: "restore-uid", Timeout: metav1.Duration{Duration: time.Hour},
		},
	}
	made := objects(t, c)["data-volume"]
	made.ResourceVersion, made.CreationTimestamp = "", metav1.Time{}
	if diff := cmp.Diff(want, made); diff != "" {
		t.Errorf("PodVolumeRestore differs (-want +got):\n%s", diff)
	}
	var repository resticv1.ResticRepository
	err = c.Get(clustertest.Velero, contract.RepositoryName("app", "default"), &repository)
	if err != nil || !repository.Spec.OpenOnly {
		t.Errorf("the repository is %+v, error %v, want one that is never made", repository.Spec, err)
	}
}

// TestExecuteTwice repeats a call, as Velero does after a restart of its server.
func TestExecuteTwice(t *testing.T) {
	c := clustertest.New(t, interceptor.Funcs{}, server()...)
	pod := backedUp(t, data())
	first, err := execute(t, c, pod, restore())
	if err != nil {
		t.Fatal(err)
	}
	made := objects(t, c)["data-volume"]
	second, err := execute(t, c, pod, restore())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first.pod, second.pod); diff != "" || second.operationID != first.operationID {
		t.Errorf("operation %q, want %q, and the pod differs (-first +second):\n%s",
			second.operationID, first.operationID, diff)
	}
	if diff := cmp.Diff(made, objects(t, c)["data-volume"]); diff != "" || len(objects(t, c)) != 1 {
		t.Errorf("%d PodVolumeRestores, want 1 that stays as it was (-first +second):\n%s", len(objects(t, c)), diff)
	}
}

func TestExecuteByState(t *testing.T) {
	backup := func(phase resticv1.VolumePhase, uid string) *resticv1.PodVolumeBackup {
		return &resticv1.PodVolumeBackup{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: clustertest.Velero, Name: "nightly-1", Labels: map[string]string{contract.LabelBackupUID: uid},
			},
			Status: resticv1.PodVolumeBackupStatus{
				VolumeStatus: resticv1.VolumeStatus{Phase: phase, Message: "disk on fire"}, SnapshotID: "abc123",
			},
		}
	}
	existing := clustertest.Pod("web")
	existing.Namespace = "copy"
	byDriver := func(pod *corev1.Pod) {
		pod.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{
			CSI: &corev1.CSIVolumeSource{Driver: "secrets-store.csi.k8s.io", ReadOnly: ptr.To(true)},
		}
	}
	for name, test := range map[string]struct {
		object   client.Object
		change   func(*corev1.Pod)
		snapshot string
		skip     string
		warning  string
	}{
		"a cluster that lost the object goes by tags":     {},
		"an object of another backup is not believed":     {object: backup(resticv1.PhaseFailed, "another")},
		"a backup that is done":                           {object: backup(resticv1.PhaseCompleted, "backup-uid"), snapshot: "abc123"},
		"a backup that failed has nothing to restore":     {object: backup(resticv1.PhaseFailed, "backup-uid"), skip: ReasonNotBackedUp, warning: "disk on fire"},
		"a backup that was canceled":                      {object: backup(resticv1.PhaseCanceled, "backup-uid"), skip: ReasonNotBackedUp, warning: "nightly-1"},
		"a pod that exists is left alone":                 {object: existing, skip: ReasonPodExists, warning: "pod copy/web"},
		"what a driver fills is left to it":               {change: byDriver, skip: ReasonDriverContent, warning: "its driver fills it"},
		"the pod in the source namespace does not matter": {object: clustertest.Pod("web")},
	} {
		t.Run(name, func(t *testing.T) {
			all := server()
			if test.object != nil {
				all = append(all, test.object)
			}
			c := clustertest.New(t, interceptor.Funcs{}, all...)
			pod := backedUp(t, data())
			if test.change != nil {
				test.change(pod)
			}
			got, err := execute(t, c, pod, restore())
			if err != nil {
				t.Fatal(err)
			}
			made := objects(t, c)["data-volume"]
			reason := ""
			if made.Spec.Skip != nil {
				reason = made.Spec.Skip.Reason
			}
			if reason != test.skip || made.Spec.SnapshotID != test.snapshot {
				t.Errorf("skip reason %q and snapshot %q, want %q and %q", reason, made.Spec.SnapshotID, test.skip, test.snapshot)
			}
			if held := got.pod.Spec.InitContainers[0].Name == contract.RestoreContainer; held != (test.skip == "") {
				t.Errorf("the pod is held by our init container: %t, want %t", held, test.skip == "")
			}
			if log := warnings(got.log); !strings.Contains(log, test.warning) || (log == "") != (test.warning == "") {
				t.Errorf("warnings are %q, want %q in them", log, test.warning)
			}
			progress, err := New(logrus.New(), c).Progress(got.operationID, restore())
			if err != nil || progress.Completed != (test.skip != "") || progress.Err != "" {
				t.Errorf("progress is %+v with error %v, want it done only if there is nothing to do", progress, err)
			}
		})
	}
}

func TestExecuteWithoutNote(t *testing.T) {
	pod := backedUp(t)
	delete(pod.Annotations, contract.AnnotationTaken)
	got, err := execute(t, clustertest.New(t, interceptor.Funcs{}), pod, restore())
	if err != nil || got.operationID != "" || len(got.pod.Spec.InitContainers) != 1 {
		t.Errorf("operation %q, init containers %v, error %v: want the old init container gone and nothing else",
			got.operationID, got.pod.Spec.InitContainers, err)
	}
}

func TestExecuteFails(t *testing.T) {
	for name, test := range map[string]struct {
		note    string
		objects []client.Object
		want    string
	}{
		"a note of a later version": {note: `{"version":9}`, objects: server(), want: "pod app/web in the backup"},
		"a backup that is gone":     {objects: server()[1:], want: "reading backup velero-ns/nightly"},
		"no Velero to ask its tag":  {objects: server()[:1], want: "no Deployment in namespace velero-ns"},
	} {
		t.Run(name, func(t *testing.T) {
			pod := backedUp(t, data())
			if test.note != "" {
				pod.Annotations[contract.AnnotationTaken] = test.note
			}
			c := clustertest.New(t, interceptor.Funcs{}, test.objects...)
			if _, err := execute(t, c, pod, restore()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error is %v, want %q in it", err, test.want)
			}
			if made := objects(t, c); len(made) != 0 {
				t.Errorf("%d PodVolumeRestores are left of a pod that is not restored", len(made))
			}
		})
	}
}

func TestProgressOfAPodThatNeverCame(t *testing.T) {
	at := func(age time.Duration) *metav1.Time {
		out := metav1.NewTime(clustertest.Now().Add(-age))
		return &out
	}
	pod := func(node string, started *metav1.Time) *corev1.Pod {
		out := clustertest.Pod("web")
		out.Namespace, out.Spec.NodeName, out.Status.StartTime = "copy", node, started
		out.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Message: "0/3 nodes fit"}}
		out.Spec.InitContainers = []corev1.Container{{Name: contract.RestoreContainer, Args: []string{"restore-uid"}}}
		return out
	}
	foreign := pod("node-1", at(30*time.Minute))
	foreign.Spec.InitContainers = nil
	for name, test := range map[string]struct {
		age    time.Duration
		pod    *corev1.Pod
		failed string
		says   string
	}{
		"a pod that is still to be created": {age: stranded.PodGrace - time.Second, says: "pod copy/web does not exist yet"},
		"a pod that was never created":      {age: stranded.PodGrace, failed: "pod copy/web was not created within 10m0s"},
		"a pod without a node":              {age: 30 * time.Minute, pod: pod("", nil), says: "0/3 nodes fit"},
		"a pod that has just got its node":  {age: 30 * time.Minute, pod: pod("node-1", at(time.Minute)), says: "no restic agent"},
		"a pod on a node without agent":     {age: 30 * time.Minute, pod: pod("node-1", at(3*time.Minute)), failed: "node node-1 has no restic agent"},
		"a pod that is not of this restore": {age: 30 * time.Minute, pod: foreign, failed: "pod copy/web does not belong to this restore"},
	} {
		t.Run(name, func(t *testing.T) {
			object := &resticv1.PodVolumeRestore{
				ObjectMeta: metav1.ObjectMeta{Namespace: clustertest.Velero, Name: "back-1", CreationTimestamp: *at(test.age)},
				Spec: resticv1.PodVolumeRestoreSpec{
					Pod: corev1.ObjectReference{Namespace: "copy", Name: "web"}, Volume: "data", RestoreUID: "restore-uid",
					Timeout: metav1.Duration{Duration: time.Hour},
				},
			}
			all := []client.Object{object}
			if test.pod != nil {
				all = append(all, test.pod)
			}
			progress, err := New(logrus.New(), clustertest.New(t, interceptor.Funcs{}, all...)).
				Progress("copy/web/back-1", restore())
			if err != nil || progress.Completed != (test.failed != "") ||
				!strings.Contains(progress.Err, test.failed) || !strings.Contains(progress.Description, test.says) {
				t.Errorf("progress is %+v with error %v, want %q and %q in it", progress, err, test.failed, test.says)
			}
		})
	}
}

func TestExecuteKeepsUnknownFields(t *testing.T) {
	item := clustertest.Unstructured(t, backedUp(t, data()))
	if err := unstructured.SetNestedField(item.Object, "new", "spec", "fieldOfALaterKubernetes"); err != nil {
		t.Fatal(err)
	}
	action := New(logrus.New(), clustertest.New(t, interceptor.Funcs{}, server()...))
	output, err := action.Execute(&velero.RestoreItemActionExecuteInput{
		Item: item, ItemFromBackup: item.DeepCopy(), Restore: restore(),
	})
	if err != nil {
		t.Fatal(err)
	}
	got, _, _ := unstructured.NestedString(output.UpdatedItem.UnstructuredContent(), "spec", "fieldOfALaterKubernetes")
	if got != "new" {
		t.Error("a field that this version of the API does not know was lost")
	}
}
