// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package integration

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/plugin/clientmgmt"
	"github.com/vmware-tanzu/velero/pkg/plugin/clientmgmt/process"
	"github.com/vmware-tanzu/velero/pkg/plugin/framework/common"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	biav2 "github.com/vmware-tanzu/velero/pkg/plugin/velero/backupitemaction/v2"
	riav2 "github.com/vmware-tanzu/velero/pkg/plugin/velero/restoreitemaction/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// veleroServer is Velero as far as plugins go: its own code finds, starts and calls them.
type veleroServer struct {
	t        *testing.T
	registry process.Registry
	manager  clientmgmt.Manager
	log      *logtest.Hook
}

func newVeleroServer(t *testing.T, namespace string) *veleroServer {
	t.Helper()
	t.Setenv("KUBECONFIG", shared.kubeconfig)
	t.Setenv("VELERO_NAMESPACE", namespace)
	// Velero looks for plugins in its own binary as well as in a folder, and hands its own arguments on: were the
	// binary this test's, it would start the tests anew. With the folder empty, the plugin is the one that is found.
	arguments := os.Args
	os.Args = []string{shared.plugin, "server"}
	t.Cleanup(func() { os.Args = arguments })
	log, hook := logtest.NewNullLogger()
	v := &veleroServer{t: t, log: hook, registry: process.NewRegistry(t.TempDir(), log, logrus.InfoLevel)}
	if err := v.registry.DiscoverPlugins(); err != nil {
		t.Fatal(err)
	}
	v.restart()
	t.Cleanup(func() { v.manager.CleanupClients() })
	return v
}

// restart ends the plugin's process, as Velero does after each backup, restore and look at operations.
func (v *veleroServer) restart() {
	if v.manager != nil {
		v.manager.CleanupClients()
	}
	log := logrus.New()
	log.SetOutput(nopWriter{})
	log.AddHook(v.log)
	v.manager = clientmgmt.NewManager(log, logrus.InfoLevel, v.registry)
}

type nopWriter struct{}

func (nopWriter) Write(p []byte) (int, error) { return len(p), nil }

func (v *veleroServer) backupAction(name string) biav2.BackupItemAction {
	v.t.Helper()
	action, err := v.manager.GetBackupItemActionV2(name)
	if err != nil {
		v.t.Fatal(err)
	}
	return action
}

func (v *veleroServer) restoreAction(name string) riav2.RestoreItemAction {
	v.t.Helper()
	action, err := v.manager.GetRestoreItemActionV2(name)
	if err != nil {
		v.t.Fatal(err)
	}
	return action
}

// logged returns what the plugin logged at warning level and above; Velero counts it.
func (v *veleroServer) logged() string {
	var lines []string
	for _, entry := range v.log.AllEntries() {
		if entry.Level <= logrus.WarnLevel {
			lines = append(lines, entry.Level.String()+": "+entry.Message)
		}
	}
	return strings.Join(lines, "\n")
}

func TestPluginRegisters(t *testing.T) {
	v := newVeleroServer(t, "velero")
	want := map[common.PluginKind][]string{
		common.PluginKindItemBlockAction:     {"velero.io/restic"},
		common.PluginKindBackupItemActionV2:  {"velero.io/restic", "velero.io/restic-volume"},
		common.PluginKindRestoreItemActionV2: {"velero.io/restic", "velero.io/restic-resources", "velero.io/restic-volume"},
		common.PluginKindDeleteItemAction:    {"velero.io/restic"},
	}
	got := map[common.PluginKind][]string{}
	for kind := range want {
		for _, id := range v.registry.List(kind) {
			got[kind] = append(got[kind], id.Name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("registered actions differ (-want +got):\n%s", diff)
	}
}

// scene is an application in the API server, and Velero's namespace beside it.
type scene struct {
	velero, app string
	backup      *velerov1.Backup
	claim       *corev1.PersistentVolumeClaim
	volume      *corev1.PersistentVolume
}

// newScene makes a node, a bound claim, and a backup in progress whose policy matches our label.
func newScene(t *testing.T, name string) *scene {
	t.Helper()
	s := &scene{velero: name + "-velero", app: name + "-app"}
	mode := corev1.PersistentVolumeFilesystem
	storage := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	s.volume = &corev1.PersistentVolume{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolume"}, ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: storage, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}, VolumeMode: &mode,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			ClaimRef:                      &corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: s.app, Name: "data"},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				NFS: &corev1.NFSVolumeSource{Server: "nfs.example", Path: "/data"},
			},
		},
	}
	s.claim = &corev1.PersistentVolumeClaim{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"}, ObjectMeta: named(s.app, "data"),
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}, VolumeName: name,
			Resources: corev1.VolumeResourceRequirements{Requests: storage},
		},
	}
	s.backup = &velerov1.Backup{
		ObjectMeta: named(s.velero, name),
		Spec: velerov1.BackupSpec{
			StorageLocation: "default", ItemOperationTimeout: metav1.Duration{Duration: time.Hour},
			ResourcePolicy: &corev1.TypedLocalObjectReference{Kind: "configmap", Name: "policy"},
		},
		Status: velerov1.BackupStatus{Phase: velerov1.BackupPhaseInProgress},
	}
	policy := "version: v1\nvolumePolicies:\n" +
		"- conditions: {pvcLabels: {restic.velero.io/backup: \"true\"}}\n  action: {type: custom}\n" +
		"- conditions: {volumeTypes: [emptyDir]}\n  action: {type: custom}\n"
	s.create(t,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.velero}},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.app}},
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name + "-node"}},
		&corev1.ConfigMap{ObjectMeta: named(s.velero, "policy"), Data: map[string]string{"policy.yaml": policy}},
		&corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: s.velero, Name: "restic-restore-action-config",
				Labels: map[string]string{"velero.io/plugin-config": "", "velero.io/restic": "RestoreItemAction"},
			},
			Data: map[string]string{"image": "r.io/helper:v1", "cpuRequest": "10m"},
		},
		s.volume, s.claim, s.backup)
	s.claim.Status.Phase = corev1.ClaimBound
	if err := shared.client.Status().Update(t.Context(), s.claim); err != nil {
		t.Fatal(err)
	}
	return s
}

func named(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

// create makes objects and keeps their kinds, which the client takes away.
func (s *scene) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		kind := object.GetObjectKind().GroupVersionKind()
		if err := shared.client.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		object.GetObjectKind().SetGroupVersionKind(kind)
	}
}

// pod makes a running pod that mounts the claim and an emptyDir, and asks for both.
func (s *scene) pod(t *testing.T, name string, security *corev1.PodSecurityContext) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.app, Name: name, Annotations: map[string]string{contract.AnnotationVolumesToBackup: "data, cache"},
		},
		Spec: corev1.PodSpec{
			NodeName: s.volume.Name + "-node", SecurityContext: security,
			Containers: []corev1.Container{{
				Name: "main", Image: "app:1",
				VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}, {Name: "cache", MountPath: "/cache"}},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: new(bool),
					Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
					SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				},
			}},
			Volumes: []corev1.Volume{
				{Name: "data", VolumeSource: corev1.VolumeSource{
					PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"},
				}},
				{Name: "cache", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
		},
	}
	s.create(t, pod)
	pod.Status.Phase = corev1.PodRunning
	if err := shared.client.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	pod.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	return pod
}

func (s *scene) objects(t *testing.T) []resticv1.PodVolumeBackup {
	t.Helper()
	var list resticv1.PodVolumeBackupList
	if err := shared.client.List(t.Context(), &list, client.InNamespace(s.velero)); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

func item(t *testing.T, object client.Object) *unstructured.Unstructured {
	t.Helper()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: fields}
}

func TestBackupRestoreDelete(t *testing.T) {
	s := newScene(t, "whole")
	v := newVeleroServer(t, s.velero)
	pod := s.pod(t, "web", nil)
	saved, savedClaim := s.backUp(t, v, pod)
	if log := v.logged(); log != "" {
		t.Errorf("the backup has warnings or errors:\n%s", log)
	}
	s.restoreFrom(t, v, saved, savedClaim)
	s.remove(t, v)
}

// backUp takes a pod and its claim as Velero does, plays the agent, and returns what the backup holds of them.
func (s *scene) backUp(t *testing.T, v *veleroServer, pod *corev1.Pod) (saved, savedClaim *unstructured.Unstructured) {
	t.Helper()
	block, err := v.manager.GetItemBlockAction("velero.io/restic")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := block.GetRelatedItems(item(t, pod), s.backup); err != nil {
		t.Fatal(err)
	}
	// Velero's own action for pods has the claim backed up before ours for pods runs.
	claimItem, _, _, _, err := v.backupAction("velero.io/restic-volume").Execute(item(t, s.claim), s.backup)
	if err != nil {
		t.Fatal(err)
	}
	action := v.backupAction("velero.io/restic")
	podItem, additional, id, after, err := action.Execute(item(t, pod), s.backup)
	if err != nil || len(additional) != 0 || len(after) != 2 || id == "" {
		t.Fatalf("operation %q, additional items %v, items after it %v, error %v", id, additional, after, err)
	}
	v.restart()
	action = v.backupAction("velero.io/restic")
	if progress, err := action.Progress(id, s.backup); err != nil || progress.Completed {
		t.Fatalf("progress is %+v with error %v before the agent has begun", progress, err)
	}
	s.playAgent(t)
	want := velero.OperationProgress{
		Completed: true, NCompleted: 200, NTotal: 200, OperationUnits: "Bytes",
		Description: "data: Completed, 100 B; cache: Completed, 100 B",
	}
	progress, err := action.Progress(id, s.backup)
	progress.Started, progress.Updated = time.Time{}, time.Time{}
	if diff := cmp.Diff(want, progress); diff != "" || err != nil {
		t.Fatalf("progress differs, error %v (-want +got):\n%s", err, diff)
	}
	return &unstructured.Unstructured{Object: podItem.UnstructuredContent()},
		&unstructured.Unstructured{Object: claimItem.UnstructuredContent()}
}

// playAgent has every volume taken.
func (s *scene) playAgent(t *testing.T) {
	t.Helper()
	for _, object := range s.objects(t) {
		object.Status.Phase = resticv1.PhaseCompleted
		object.Status.SnapshotID = strings.Repeat("a", 64)
		object.Status.Progress = resticv1.VolumeProgress{BytesDone: 100, TotalBytes: 100}
		if err := shared.client.Status().Update(t.Context(), &object); err != nil {
			t.Fatal(err)
		}
	}
}

// restoreFrom restores into a namespace that admits what Pod Security "baseline" does.
func (s *scene) restoreFrom(t *testing.T, v *veleroServer, saved, savedClaim *unstructured.Unstructured) {
	t.Helper()
	target := s.app + "-copy"
	s.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: target, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "baseline"},
	}})
	restore := &velerov1.Restore{
		ObjectMeta: named(s.velero, "back"),
		Spec:       velerov1.RestoreSpec{BackupName: s.backup.Name, NamespaceMapping: map[string]string{s.app: target}},
	}
	s.create(t, restore)
	claim, err := v.restoreAction("velero.io/restic-volume").Execute(input(savedClaim, restore))
	if err != nil {
		t.Fatal(err)
	}
	if volume, bound, _ := unstructured.NestedString(claim.UpdatedItem.UnstructuredContent(), "spec", "volumeName"); bound {
		t.Errorf("the restored claim is bound to %s, want it to get a fresh volume", volume)
	}
	action := v.restoreAction("velero.io/restic")
	output, err := action.Execute(input(saved, restore))
	if err != nil {
		t.Fatal(err)
	}
	restored := admit(t, output.UpdatedItem.UnstructuredContent(), target)
	helper := restored.Spec.InitContainers[0]
	if helper.Name != contract.RestoreContainer || helper.Image != "r.io/helper:v1" || len(helper.VolumeMounts) != 2 {
		t.Errorf("first init container is %+v, want the configured helper with both volumes", helper)
	}
	var made resticv1.PodVolumeRestoreList
	if err := shared.client.List(t.Context(), &made, client.InNamespace(s.velero)); err != nil || len(made.Items) != 2 {
		t.Fatalf("%d PodVolumeRestores, error %v, want 2", len(made.Items), err)
	}
	if err := action.Cancel(output.OperationID, restore); err != nil {
		t.Fatal(err)
	}
	for _, object := range made.Items {
		if err := shared.client.Get(t.Context(), client.ObjectKeyFromObject(&object), &object); err != nil {
			t.Fatal(err)
		}
		if !object.Spec.Cancel || object.Spec.SnapshotID != strings.Repeat("a", 64) {
			t.Errorf("spec is %+v, want the snapshot, and canceled", object.Spec)
		}
	}
}

func input(saved *unstructured.Unstructured, restore *velerov1.Restore) *velero.RestoreItemActionExecuteInput {
	reset := saved.DeepCopy()
	reset.SetUID("")
	reset.SetResourceVersion("")
	unstructured.RemoveNestedField(reset.Object, "status")
	return &velero.RestoreItemActionExecuteInput{Item: reset, ItemFromBackup: saved, Restore: restore}
}

// admit has the API server admit a restored pod into a namespace, without keeping it.
func admit(t *testing.T, content map[string]any, namespace string) *corev1.Pod {
	t.Helper()
	var pod corev1.Pod
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &pod); err != nil {
		t.Fatal(err)
	}
	pod.Namespace, pod.ManagedFields, pod.CreationTimestamp = namespace, nil, metav1.Time{}
	if err := shared.client.Create(t.Context(), &pod, client.DryRunAll); err != nil {
		t.Fatalf("the API server refuses the restored pod: %v", err)
	}
	return &pod
}

// remove deletes the backup as Velero does: from what the tarball holds, once with the objects there and once without.
func (s *scene) remove(t *testing.T, v *veleroServer) {
	t.Helper()
	action, err := v.manager.GetDeleteItemAction("velero.io/restic")
	if err != nil {
		t.Fatal(err)
	}
	collected := s.objects(t)
	lost := collected[0]
	if err := shared.client.Delete(t.Context(), &lost); err != nil {
		t.Fatal(err)
	}
	for _, object := range collected {
		object.SetGroupVersionKind(resticv1.GroupVersion().WithKind("PodVolumeBackup"))
		if err := action.Execute(&velero.DeleteItemActionExecuteInput{Item: item(t, &object), Backup: s.backup}); err != nil {
			t.Fatal(err)
		}
	}
	left := s.objects(t)
	if len(left) != len(collected) {
		t.Errorf("%d objects ask to be forgotten, want %d", len(left), len(collected))
	}
	for _, object := range left {
		if !object.Spec.Forget || object.Spec.SnapshotID != strings.Repeat("a", 64) || len(object.OwnerReferences) != 0 ||
			cmp.Diff([]string{contract.FinalizerForget}, object.Finalizers) != "" {
			t.Errorf("object is %+v, want it to ask to be forgotten and to outlive its backup", object)
		}
	}
}

func TestRestoreIntoRestrictedNamespace(t *testing.T) {
	s := newScene(t, "restricted")
	v := newVeleroServer(t, s.velero)
	yes := true
	saved, _ := s.backUp(t, v, s.pod(t, "web", &corev1.PodSecurityContext{RunAsNonRoot: &yes}))
	target := s.app + "-copy"
	s.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: target, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}})
	restore := &velerov1.Restore{
		ObjectMeta: named(s.velero, "back"),
		Spec:       velerov1.RestoreSpec{BackupName: s.backup.Name, NamespaceMapping: map[string]string{s.app: target}},
	}
	s.create(t, restore)
	output, err := v.restoreAction("velero.io/restic").Execute(input(saved, restore))
	if err != nil {
		t.Fatal(err)
	}
	admit(t, output.UpdatedItem.UnstructuredContent(), target)
}

func TestManyPodsAtOnce(t *testing.T) {
	s := newScene(t, "many")
	v := newVeleroServer(t, s.velero)
	const pods = 30
	block, err := v.manager.GetItemBlockAction("velero.io/restic")
	if err != nil {
		t.Fatal(err)
	}
	action := v.backupAction("velero.io/restic")
	var running sync.WaitGroup
	for i := range pods {
		pod := item(t, s.pod(t, fmt.Sprintf("web-%d", i), nil))
		running.Go(func() {
			if _, err := block.GetRelatedItems(pod, s.backup); err != nil {
				t.Error(err)
			}
			for range 2 { // Velero may see a pod again
				_, _, id, after, err := action.Execute(pod, s.backup)
				if err != nil || len(after) != 2 || id == "" {
					t.Errorf("operation %q with %d items, error %v", id, len(after), err)
				}
			}
		})
	}
	running.Wait()
	if got := len(s.objects(t)); got != pods+1 {
		t.Errorf("%d PodVolumeBackups, want one for each emptyDir and one for the claim that all share", got)
	}
	if log := v.logged(); log != "" {
		t.Errorf("the backup has warnings or errors:\n%s", log)
	}
	var repositories resticv1.ResticRepositoryList
	if err := shared.client.List(t.Context(), &repositories, client.InNamespace(s.velero)); err != nil ||
		len(repositories.Items) != 1 {
		t.Errorf("%d repositories, error %v, want 1", len(repositories.Items), err)
	}
}

func TestWarningsReachVelero(t *testing.T) {
	s := newScene(t, "warning")
	v := newVeleroServer(t, s.velero)
	pod := s.pod(t, "web", nil)
	pod.Annotations[contract.AnnotationVolumesToBackup] = "cache,nope"
	_, _, id, _, err := v.backupAction("velero.io/restic").Execute(item(t, pod), s.backup)
	if err != nil {
		t.Fatal(err)
	}
	if log := v.logged(); !strings.Contains(log, "warning: ") || !strings.Contains(log, "nope") {
		t.Errorf("Velero's log of the backup has %q, want a warning that names the volume", log)
	}
	progress, err := v.backupAction("velero.io/restic").Progress(id, s.backup)
	if err != nil || !strings.Contains(progress.Description, "nope: Skipped") {
		t.Errorf("progress is %+v with error %v, want the skipped volume in its description", progress, err)
	}
	for _, object := range s.objects(t) {
		if err := shared.client.Delete(t.Context(), &object); client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
	}
	progress, err = v.backupAction("velero.io/restic").Progress(id, s.backup)
	if err != nil || !progress.Completed || !strings.Contains(progress.Err, "was deleted") {
		t.Errorf("progress is %+v with error %v, want an end that says that the objects were deleted", progress, err)
	}
}

func TestPluginWithoutNamespace(t *testing.T) {
	v := newVeleroServer(t, "")
	_, _, _, _, err := v.backupAction("velero.io/restic").Execute(item(t, &corev1.Pod{}), &velerov1.Backup{})
	if err == nil || !strings.Contains(err.Error(), "VELERO_NAMESPACE") || apierrors.IsNotFound(err) {
		t.Errorf("error is %v, want one that names the variable", err)
	}
}
