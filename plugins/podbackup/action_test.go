// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package podbackup

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	biav2 "github.com/vmware-tanzu/velero/pkg/plugin/velero/backupitemaction/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster/clustertest"
)

// result is what Execute returned and logged.
type result struct {
	pod         *unstructured.Unstructured
	additional  []velero.ResourceIdentifier
	operationID string
	after       []velero.ResourceIdentifier
	log         *logtest.Hook
}

func execute(t *testing.T, c *cluster.Cluster, pod *corev1.Pod, backup *velerov1.Backup) result {
	t.Helper()
	log, hook := logtest.NewNullLogger()
	var action biav2.BackupItemAction = New(log, c)
	item, additional, id, after, err := action.Execute(clustertest.Unstructured(t, pod), backup)
	if err != nil {
		t.Fatal(err)
	}
	return result{
		pod: &unstructured.Unstructured{Object: item.UnstructuredContent()}, additional: additional, operationID: id,
		after: after, log: hook,
	}
}

// logged returns the messages of a level, by lines.
func (r result) logged(level logrus.Level) string {
	var lines []string
	for _, entry := range r.log.AllEntries() {
		if entry.Level == level {
			lines = append(lines, entry.Message)
		}
	}
	return strings.Join(lines, "\n")
}

func (r result) note(t *testing.T) contract.PodNote {
	t.Helper()
	note, err := contract.ReadPodNote(r.pod.GetAnnotations()[contract.AnnotationTaken])
	if err != nil {
		t.Fatal(err)
	}
	return note
}

func objects(t *testing.T, c *cluster.Cluster) map[string]resticv1.PodVolumeBackup {
	t.Helper()
	var list resticv1.PodVolumeBackupList
	if err := c.Client.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	out := map[string]resticv1.PodVolumeBackup{}
	for _, object := range list.Items {
		out[object.Spec.Pod.Name+"/"+object.Spec.Volume] = object
	}
	return out
}

func claimed() map[string]string { return map[string]string{contract.LabelClaimed: "true"} }

func identifier(name string) velero.ResourceIdentifier {
	out := velero.ResourceIdentifier{Namespace: clustertest.Velero, Name: name}
	out.Group, out.Resource = resticv1.GroupName, resticv1.ResourcePodVolumeBackups
	return out
}

func TestExecute(t *testing.T) {
	claim, volume := clustertest.Claim("data", claimed())
	c := clustertest.New(t, interceptor.Funcs{}, clustertest.Policy(), claim, volume)
	pod := clustertest.Pod("web", [2]string{"data-volume", "data"}, [2]string{"cache", ""})
	backup := clustertest.Backup()
	got := execute(t, c, pod, backup)

	data := contract.BackupVolumeName("nightly", "backup-uid", "uid-of-claim-data")
	cache := contract.BackupVolumeName("nightly", "backup-uid", "uid-of-pod-web/cache")
	if diff := cmp.Diff([]velero.ResourceIdentifier{identifier(data), identifier(cache)}, got.after); diff != "" {
		t.Errorf("what to collect at the end differs (-want +got):\n%s", diff)
	}
	if got.operationID == "" || got.additional != nil {
		t.Errorf("operation is %q with additional items %v, want an operation alone", got.operationID, got.additional)
	}
	wantNote := contract.PodNote{Version: 1, BackupUID: "backup-uid", Volumes: []contract.TakenVolume{
		{Volume: "data-volume", PodVolumeBackup: data, PodUID: "uid-of-pod-web", SourceVolume: "data-volume", PVC: "data"},
		{Volume: "cache", PodVolumeBackup: cache, PodUID: "uid-of-pod-web", SourceVolume: "cache"},
	}}
	if diff := cmp.Diff(wantNote, got.note(t)); diff != "" {
		t.Errorf("note on the pod differs (-want +got):\n%s", diff)
	}
	if entries := got.logged(logrus.WarnLevel) + got.logged(logrus.ErrorLevel); entries != "" {
		t.Errorf("logged %q, want neither warning nor error", entries)
	}
	var repository resticv1.ResticRepository
	err := c.Get(clustertest.Velero, contract.RepositoryName("app", "default"), &repository)
	if err != nil || repository.Spec.OpenOnly {
		t.Errorf("the repository is %+v, error %v, want one that may be made", repository.Spec, err)
	}
	made := objects(t, c)["web/data-volume"]
	made.ResourceVersion, made.CreationTimestamp = "", metav1.Time{}
	if diff := cmp.Diff(wantObject(data), made); diff != "" {
		t.Errorf("PodVolumeBackup differs (-want +got):\n%s", diff)
	}
	again := execute(t, c, pod, backup)
	if diff := cmp.Diff(got.operationID, again.operationID); diff != "" || len(objects(t, c)) != 2 {
		t.Errorf("a second time there are %d objects, and the operation differs (-want +got):\n%s", len(objects(t, c)), diff)
	}
}

func wantObject(name string) resticv1.PodVolumeBackup {
	no := false
	return resticv1.PodVolumeBackup{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: clustertest.Velero, Name: name,
			Labels: map[string]string{
				"velero.io/backup-name": "nightly", "velero.io/backup-uid": "backup-uid",
				"velero.io/pod-uid": "uid-of-pod-web", "velero.io/pvc-uid": "uid-of-claim-data",
				"velero.io/storage-location": "default", "velero.io/volume-namespace": "app",
				"velero.io/exclude-from-backup": "true",
			},
			Annotations: map[string]string{"velero.io/pvc-name": "data"},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "velero.io/v1", Kind: "Backup", Name: "nightly", UID: "backup-uid",
				Controller: &no, BlockOwnerDeletion: &no,
			}},
		},
		Spec: resticv1.PodVolumeBackupSpec{
			Node:                  clustertest.Node,
			Pod:                   corev1.ObjectReference{Kind: "Pod", Namespace: "app", Name: "web", UID: "uid-of-pod-web"},
			Volume:                "data-volume",
			BackupStorageLocation: "default",
			Repository:            contract.RepositoryName("app", "default"),
			Timeout:               metav1.Duration{Duration: time.Hour},
			Tags: map[string]string{
				"backup": "nightly", "backup-uid": "backup-uid", "pod": "web", "pod-uid": "uid-of-pod-web",
				"ns": "app", "volume": "data-volume", "pvc": "data", "pvc-uid": "uid-of-claim-data",
				"pod-volume-backup": name,
			},
		},
	}
}

// TestExecuteSharesAClaim has two pods on two nodes share a claim.
func TestExecuteSharesAClaim(t *testing.T) {
	claim, volume := clustertest.Claim("data", claimed())
	c := clustertest.New(t, interceptor.Funcs{}, clustertest.Policy(), claim, volume)
	first := execute(t, c, clustertest.Pod("first", [2]string{"one", "data"}), clustertest.Backup())
	other := clustertest.Pod("second", [2]string{"two", "data"})
	other.Spec.NodeName = "node-2"
	second := execute(t, c, other, clustertest.Backup())
	made := objects(t, c)
	if len(made) != 1 {
		t.Errorf("%d PodVolumeBackups were made, want one for the claim", len(made))
	}
	for _, object := range made {
		if object.Spec.Node != clustertest.Node || object.Spec.Pod.Name != "first" {
			t.Errorf("it is to be taken through pod %s on %s, want the first", object.Spec.Pod.Name, object.Spec.Node)
		}
	}
	want := []contract.TakenVolume{{
		Volume: "two", PodVolumeBackup: first.after[0].Name, PodUID: "uid-of-pod-first", SourceVolume: "one", PVC: "data",
	}}
	if diff := cmp.Diff(want, second.note(t).Volumes); diff != "" {
		t.Errorf("note on the second pod differs (-want +got):\n%s", diff)
	}
}

func TestExecuteWithoutTaking(t *testing.T) {
	stale := func(pod *corev1.Pod) {
		pod.Annotations[contract.AnnotationTaken] = "stale"
		pod.Spec.InitContainers = []corev1.Container{{Name: contract.RestoreContainer}, {Name: "migrate"}}
	}
	for name, test := range map[string]struct {
		labels  map[string]string
		change  func(*corev1.Pod)
		backup  func(*velerov1.Backup)
		warning string
		err     string
		skipped string // the reason on the object, empty if there must be none
	}{
		"nothing is asked for": {change: func(pod *corev1.Pod) { pod.Annotations = nil }},
		"what an earlier backup and restore left goes": {change: func(pod *corev1.Pod) {
			delete(pod.Annotations, contract.AnnotationVolumesToBackup)
			stale(pod)
		}},
		"a volume that cannot be taken is shown": {
			labels: claimed(),
			change: func(pod *corev1.Pod) { pod.Status.Phase = corev1.PodPending }, warning: "app/web",
			skipped: "PodNotRunning",
		},
		"a volume that the pod lacks is shown": {
			change: func(pod *corev1.Pod) {
				pod.Annotations[contract.AnnotationVolumesToBackup] = "nope"
			}, warning: "nope", skipped: "UnknownVolume",
		},
		"an empty annotation has no volume to show": {
			change: func(pod *corev1.Pod) { pod.Annotations[contract.AnnotationVolumesToBackup] = "" }, warning: "app/web",
		},
		"policies that cannot be read": {
			backup: func(b *velerov1.Backup) { b.Spec.ResourcePolicy.Name = "gone" }, err: "velero-ns/gone",
		},
	} {
		t.Run(name, func(t *testing.T) {
			claim, volume := clustertest.Claim("data", test.labels)
			c := clustertest.New(t, interceptor.Funcs{}, clustertest.Policy(), claim, volume)
			pod, backup := clustertest.Pod("web", [2]string{"data-volume", "data"}), clustertest.Backup()
			if test.change != nil {
				test.change(pod)
			}
			if test.backup != nil {
				test.backup(backup)
			}
			got := execute(t, c, pod, backup)
			if _, noted := got.pod.GetAnnotations()[contract.AnnotationTaken]; noted {
				t.Error("the pod carries a note of taken volumes, want none")
			}
			containers, _, _ := unstructured.NestedSlice(got.pod.Object, "spec", "initContainers")
			if len(pod.Spec.InitContainers) > 0 && len(containers) != len(pod.Spec.InitContainers)-1 {
				t.Errorf("init containers are %v, want ours gone", containers)
			}
			if log := got.logged(logrus.WarnLevel); !strings.Contains(log, test.warning) || (log == "") != (test.warning == "") {
				t.Errorf("warnings are %q, want %q in them", log, test.warning)
			}
			if log := got.logged(logrus.ErrorLevel); !strings.Contains(log, test.err) || (log == "") != (test.err == "") {
				t.Errorf("errors are %q, want %q in them", log, test.err)
			}
			if (got.operationID == "") != (test.skipped == "") {
				t.Errorf("operation is %q, want one only for a volume to show", got.operationID)
			}
			for _, object := range objects(t, c) {
				if object.Spec.Skip == nil || object.Spec.Skip.Reason != test.skipped || len(object.Spec.Tags) > 0 {
					t.Errorf("spec is %+v, want it skipped as %s", object.Spec, test.skipped)
				}
			}
		})
	}
}

func TestExecuteLeavesToVelero(t *testing.T) {
	claim, volume := clustertest.Claim("data", nil) // without the label Velero's core takes it
	nodeAgent := clustertest.Agent(clustertest.Node, "True")
	nodeAgent.Labels = map[string]string{"role": "node-agent"}
	c := clustertest.New(t, interceptor.Funcs{}, clustertest.Policy(), claim, volume, nodeAgent)
	got := execute(t, c, clustertest.Pod("web", [2]string{"data-volume", "data"}), clustertest.Backup())
	if got.operationID != "" || len(objects(t, c)) != 0 {
		t.Errorf("operation %q with %d objects, want Velero alone to take the volume", got.operationID, len(objects(t, c)))
	}
	if log := got.logged(logrus.WarnLevel); !strings.Contains(log, "data-volume") {
		t.Errorf("warnings are %q, want one that names the volume", log)
	}
}

func TestExecuteWhenFinalizing(t *testing.T) {
	backup := clustertest.Backup()
	backup.Status.Phase = velerov1.BackupPhaseFinalizingPartiallyFailed
	pod := clustertest.Pod("web", [2]string{"cache", ""})
	pod.Annotations[contract.AnnotationTaken] = "kept"
	got := execute(t, clustertest.New(t, interceptor.Funcs{}), pod, backup)
	if diff := cmp.Diff(clustertest.Unstructured(t, pod).Object, got.pod.Object); diff != "" || got.operationID != "" {
		t.Errorf("operation %q, and the pod was changed (-want +got):\n%s", got.operationID, diff)
	}
}

func TestExecuteWhenTheServerRefuses(t *testing.T) {
	for name, want := range map[string]int{"a volume": 1, "the repository": 0} {
		t.Run(name, func(t *testing.T) {
			calls := interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object,
				options ...client.CreateOption,
			) error {
				if _, isOne := o.(*resticv1.PodVolumeBackup); isOne == (name == "a volume") &&
					!strings.Contains(o.GetName(), contract.BackupVolumeName("nightly", "backup-uid", "uid-of-pod-web/b")) {
					return errors.New("quota is full")
				}
				return c.Create(ctx, o, options...)
			}}
			c := clustertest.New(t, calls, clustertest.Policy())
			got := execute(t, c, clustertest.Pod("web", [2]string{"a", ""}, [2]string{"b", ""}), clustertest.Backup())
			if log := got.logged(logrus.ErrorLevel); !strings.Contains(log, "quota is full") ||
				!strings.Contains(log, "pod app/web") {
				t.Errorf("errors are %q, want the reason and the pod", log)
			}
			if len(got.after) != want || len(objects(t, c)) != want {
				t.Errorf("%d objects are reported of %d, want %d", len(got.after), len(objects(t, c)), want)
			}
		})
	}
}

func TestExecuteWithHooks(t *testing.T) {
	for name, test := range map[string]struct {
		final resticv1.VolumePhase
		err   string
	}{
		"a volume that is taken":  {final: resticv1.PhaseCompleted},
		"a volume that is failed": {final: resticv1.PhaseFailed, err: "volume cache: disk on fire"},
	} {
		t.Run(name, func(t *testing.T) {
			// The agent has finished by the time that the object is looked at.
			calls := interceptor.Funcs{Create: func(ctx context.Context, c client.WithWatch, o client.Object,
				options ...client.CreateOption,
			) error {
				if err := c.Create(ctx, o, options...); err != nil {
					return err
				}
				object, isOne := o.(*resticv1.PodVolumeBackup)
				if !isOne {
					return nil
				}
				object.Status.Phase, object.Status.Message = test.final, "disk on fire"
				return c.Status().Update(ctx, object)
			}}
			pod := clustertest.Pod("web", [2]string{"cache", ""})
			pod.Annotations["post.hook.backup.velero.io/command"] = "thaw"
			got := execute(t, clustertest.New(t, calls, clustertest.Policy()), pod, clustertest.Backup())
			if got.operationID != "" || len(got.after) != 0 || len(got.additional) != 1 {
				t.Errorf("operation %q, additional items %v, items after it %v: want one additional item alone",
					got.operationID, got.additional, got.after)
			}
			if got.pod.GetAnnotations()["backup.velero.io/must-include-additional-items"] != "true" {
				t.Errorf("annotations are %v, want the additional items included", got.pod.GetAnnotations())
			}
			if log := got.logged(logrus.ErrorLevel); !strings.Contains(log, test.err) || (log == "") != (test.err == "") {
				t.Errorf("errors are %q, want %q in them", log, test.err)
			}
			if len(got.note(t).Volumes) != 1 {
				t.Error("the pod carries no note of its volume")
			}
		})
	}
}

func TestHasHooks(t *testing.T) {
	exec := []velerov1.BackupResourceHook{{Exec: &velerov1.ExecHook{Command: []string{"sync"}}}}
	for name, test := range map[string]struct {
		annotation string
		hook       *velerov1.BackupResourceHookSpec
		want       bool
	}{
		"none":                         {},
		"annotation for before":        {annotation: "pre.hook.backup.velero.io/command", want: true},
		"annotation for after":         {annotation: "post.hook.backup.velero.io/command", want: true},
		"annotation of the old form":   {annotation: "hook.backup.velero.io/command", want: true},
		"annotation for restores":      {annotation: "post.hook.restore.velero.io/command"},
		"every pod":                    {hook: &velerov1.BackupResourceHookSpec{PostHooks: exec}, want: true},
		"without a command":            {hook: &velerov1.BackupResourceHookSpec{}},
		"another namespace":            {hook: &velerov1.BackupResourceHookSpec{PreHooks: exec, IncludedNamespaces: []string{"b*"}}},
		"namespaces by pattern":        {hook: &velerov1.BackupResourceHookSpec{PreHooks: exec, IncludedNamespaces: []string{"a*"}}, want: true},
		"an excluded namespace":        {hook: &velerov1.BackupResourceHookSpec{PreHooks: exec, ExcludedNamespaces: []string{"app"}}},
		"another resource":             {hook: &velerov1.BackupResourceHookSpec{PreHooks: exec, IncludedResources: []string{"jobs"}}},
		"pods by their short name":     {hook: &velerov1.BackupResourceHookSpec{PreHooks: exec, IncludedResources: []string{"po"}}, want: true},
		"excluded pods":                {hook: &velerov1.BackupResourceHookSpec{PreHooks: exec, ExcludedResources: []string{"pods"}}},
		"a label that the pod has":     {hook: labeled(exec, "web"), want: true},
		"a label that the pod has not": {hook: labeled(exec, "db")},
	} {
		t.Run(name, func(t *testing.T) {
			pod, backup := clustertest.Pod("web"), clustertest.Backup()
			pod.Labels = map[string]string{"app": "web"}
			if test.annotation != "" {
				pod.Annotations[test.annotation] = "sync"
			}
			if test.hook != nil {
				backup.Spec.Hooks.Resources = []velerov1.BackupResourceHookSpec{*test.hook}
			}
			if got := hasHooks(pod, backup); got != test.want {
				t.Errorf("hasHooks is %t, want %t", got, test.want)
			}
		})
	}
}

func labeled(exec []velerov1.BackupResourceHook, app string) *velerov1.BackupResourceHookSpec {
	return &velerov1.BackupResourceHookSpec{
		PostHooks: exec, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}},
	}
}

func TestProgressAndCancelOfAnotherProcess(t *testing.T) {
	claim, volume := clustertest.Claim("data", claimed())
	c := clustertest.New(t, interceptor.Funcs{}, clustertest.Policy(), claim, volume)
	backup := clustertest.Backup()
	id := execute(t, c, clustertest.Pod("web", [2]string{"data-volume", "data"}), backup).operationID

	fresh := New(logrus.New(), c) // Velero starts another process for each look
	progress, err := fresh.Progress(id, backup)
	if err != nil || progress.Completed || progress.Description != "data-volume: waiting: for its agent" {
		t.Errorf("progress is %+v with error %v, want it open", progress, err)
	}
	if err := fresh.Cancel(id, backup); err != nil || !objects(t, c)["web/data-volume"].Spec.Cancel {
		t.Errorf("after Cancel, with error %v, spec.cancel is false", err)
	}
	if _, err := fresh.Progress("another plugin's", backup); err == nil {
		t.Error("an operation of another plugin has progress, want an error")
	}
}

func TestIdentityOfData(t *testing.T) {
	// Pods that were made anew have volumes of their own.
	claim, volume := clustertest.Claim("data", claimed())
	c := clustertest.New(t, interceptor.Funcs{}, clustertest.Policy(), claim, volume)
	for _, uid := range []types.UID{"one", "two"} {
		pod := clustertest.Pod("web", [2]string{"cache", ""})
		pod.UID = uid
		execute(t, c, pod, clustertest.Backup())
	}
	var list resticv1.PodVolumeBackupList
	if err := c.Client.List(t.Context(), &list); err != nil || len(list.Items) != 2 {
		t.Errorf("%d objects for two pods of one name, error %v", len(list.Items), err)
	}
}
