// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package integration

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
	"github.com/velero-restic/velero-plugin-for-restic/internal/inventory"
	"github.com/velero-restic/velero-plugin-for-restic/internal/scope"
)

// stock is an inventory of the shared API server, as the agent's leader has it: with the permissions of examples/base
// and no others.
type stock struct {
	*inventory.Inventory
	namespace string // Velero's and the claims'
}

// grant gives an agent in the namespace what examples/base gives it, and returns a configuration with its identity.
func grant(t *testing.T, namespace string) *rest.Config {
	t.Helper()
	for _, file := range []string{"rbac.yaml", "role.yaml"} {
		for _, object := range objectsIn(t, filepath.Join("..", "..", "examples", "base", "rbac", file)) {
			move(t, object, namespace)
			createAll(t, object)
			t.Cleanup(func() { _ = shared.client.Delete(context.WithoutCancel(t.Context()), object) })
		}
	}
	config := rest.CopyConfig(shared.config)
	config.Impersonate.UserName = "system:serviceaccount:" + namespace + ":velero-restic"
	return config
}

// objectsIn returns the objects of a file of manifests.
func objectsIn(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatal(err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// move makes an object of examples/base/rbac one of this namespace, and of its own name where it has none.
func move(t *testing.T, object *unstructured.Unstructured, namespace string) {
	t.Helper()
	if object.GetNamespace() != "" {
		object.SetNamespace(namespace)
	} else {
		object.SetName(object.GetName() + "-" + namespace)
		if object.GetKind() == "ClusterRoleBinding" {
			if err := unstructured.SetNestedField(object.Object, object.GetName(), "roleRef", "name"); err != nil {
				t.Fatal(err)
			}
		}
	}
	subjects, _, err := unstructured.NestedSlice(object.Object, "subjects")
	if err != nil {
		t.Fatal(err)
	}
	for _, subject := range subjects {
		if fields, isMap := subject.(map[string]any); isMap {
			fields["namespace"] = namespace
		}
	}
	if len(subjects) > 0 {
		if err := unstructured.SetNestedSlice(object.Object, subjects, "subjects"); err != nil {
			t.Fatal(err)
		}
	}
}

func startStock(t *testing.T, namespace string, config *rest.Config) *stock {
	t.Helper()
	i, err := inventory.New(config, inventory.Options{Namespace: namespace, ClaimsOnly: true, Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- i.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	return &stock{Inventory: i, namespace: namespace}
}

func (s *stock) sync(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.WaitForSync(ctx); err != nil {
		t.Fatal(err)
	}
}

// becomes waits until a claim is protected by a method, or not for a reason; empty for one that is not there.
func (s *stock) becomes(t *testing.T, claim, want string) coverage.State {
	t.Helper()
	var state coverage.State
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		state = coverage.State{}
		for _, one := range s.States(time.Now()) {
			if one.Namespace == s.namespace && one.Claim == claim {
				state = one
			}
		}
		got := string(state.Reason)
		if state.Protected {
			got = string(state.Method)
		}
		if got == want {
			return state
		}
	}
	t.Fatalf("claim %s is not %s but %+v (trouble: %v)", claim, want, state, s.ReadError())
	return state
}

// claimOfPod makes a pod that runs and mounts a claim of the same name, which is bound.
func claimOfPod(t *testing.T, namespace, name string) (*corev1.Pod, *corev1.PersistentVolumeClaim) {
	t.Helper()
	pv := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: namespace + "-" + name},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:    corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			ClaimRef:    &corev1.ObjectReference{Namespace: namespace, Name: name},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				CSI: &corev1.CSIPersistentVolumeSource{Driver: "csi.example.com", VolumeHandle: name},
			},
		},
	}
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			VolumeName: pv.Name, AccessModes: pv.Spec.AccessModes,
			Resources: corev1.VolumeResourceRequirements{Requests: pv.Spec.Capacity},
		},
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.PodSpec{
			NodeName: "node-1",
			Containers: []corev1.Container{{
				Name: "main", Image: "example.com/x", VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
			}},
			Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
			}}},
		},
	}
	createAll(t, pv, claim, pod)
	t.Cleanup(func() { _ = shared.client.Delete(context.WithoutCancel(t.Context()), pv) })
	claim.Status.Phase, pod.Status.Phase = corev1.ClaimBound, corev1.PodRunning
	for _, object := range []client.Object{claim, pod} {
		if err := shared.client.Status().Update(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	return pod, claim
}

// storageLocation makes a BackupStorageLocation that is available, the one of backups that name none.
func storageLocation(t *testing.T, namespace string) *velerov1.BackupStorageLocation {
	t.Helper()
	location := &velerov1.BackupStorageLocation{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "default"},
		Spec: velerov1.BackupStorageLocationSpec{Provider: "aws", StorageType: velerov1.StorageType{
			ObjectStorage: &velerov1.ObjectStorageLocation{Bucket: "backups"},
		}},
		Status: velerov1.BackupStorageLocationStatus{Phase: velerov1.BackupStorageLocationPhaseAvailable},
	}
	createAll(t, location)
	return location
}

// patched changes an object on the API server.
func patched[T client.Object](t *testing.T, object T, change func(T)) {
	t.Helper()
	before, isSame := object.DeepCopyObject().(T)
	if !isSame {
		t.Fatalf("a copy of %T is of another kind", object)
	}
	change(object)
	if err := shared.client.Patch(t.Context(), object, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

// volumeOutcome makes a PodVolumeBackup of a claim that has ended, in a Backup of the same name that has completed.
func volumeOutcome(
	t *testing.T, claim *corev1.PersistentVolumeClaim, name string, phase resticv1.VolumePhase, ended time.Time,
) *resticv1.PodVolumeBackup {
	t.Helper()
	whole := &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Namespace: claim.Namespace, Name: name},
		Status:     velerov1.BackupStatus{Phase: velerov1.BackupPhaseCompleted},
	}
	createAll(t, whole)
	backup := volumeBackup(claim.Namespace, name, "node-1", nil)
	backup.Labels = map[string]string{
		contract.LabelPVCUID: string(claim.UID), contract.LabelBackupName: name, contract.LabelBackupUID: string(whole.UID),
	}
	createAll(t, backup)
	begun, end := metav1.NewTime(ended.Add(-time.Minute)), metav1.NewTime(ended)
	backup.Status.Phase, backup.Status.Message = phase, "told by the test"
	backup.Status.StartTimestamp, backup.Status.CompletionTimestamp = &begun, &end
	backup.Status.Progress.TotalBytes = 1000
	if err := shared.client.Status().Update(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	return backup
}

func TestInventoryFollowsTheCluster(t *testing.T) {
	namespace := agentNamespace(t)
	pod, claim := claimOfPod(t, namespace, "web")
	_, other := claimOfPod(t, namespace, "idle")
	storageLocation(t, namespace)
	s := startStock(t, namespace, grant(t, namespace))
	s.sync(t)
	s.becomes(t, "web", "NoSchedule")
	policies := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "policies"},
		Data: map[string]string{"p": "version: v1\nvolumePolicies:\n" +
			"- {conditions: {pvcLabels: {restic.velero.io/backup: 'true'}}, action: {type: custom}}\n"},
	}
	schedule := &velerov1.Schedule{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "daily"},
		Spec: velerov1.ScheduleSpec{Schedule: "0 1 * * *", Template: velerov1.BackupSpec{
			IncludedNamespaces: []string{namespace},
			ResourcePolicy:     &corev1.TypedLocalObjectReference{Kind: "configmap", Name: policies.Name},
		}},
	}
	createAll(t, schedule)
	s.becomes(t, "web", "PolicyInvalid")
	createAll(t, policies)
	s.becomes(t, "web", "NotAsked")
	patched(t, pod, func(p *corev1.Pod) {
		p.Annotations = map[string]string{contract.AnnotationVolumesToBackup: "data"}
	})
	s.becomes(t, "web", "NeverSucceeded")
	now := time.Now()
	volumeOutcome(t, claim, "old", resticv1.PhaseCompleted, now.Add(-time.Hour))
	state := s.becomes(t, "web", "restic")
	if state.Bytes != 1000 || state.Duration != time.Minute || state.Schedule != "daily" {
		t.Errorf("the state is %+v", state)
	}
	failed := volumeOutcome(t, claim, "failed", resticv1.PhaseFailed, now)
	if state := s.becomes(t, "web", "LastFailed"); !strings.Contains(state.Message, "told by the test") {
		t.Errorf("the message is %s", state.Message)
	}
	if err := shared.client.Delete(t.Context(), failed); err != nil {
		t.Fatal(err)
	}
	s.becomes(t, "web", "restic")
	whole := &velerov1.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "old"}}
	patched(t, whole, func(b *velerov1.Backup) { b.Status.Phase = velerov1.BackupPhaseFailed })
	s.becomes(t, "web", "NeverSucceeded")
	patched(t, whole, func(b *velerov1.Backup) { b.Status.Phase = velerov1.BackupPhaseCompleted })
	s.becomes(t, "web", "restic")
	patched(t, other, func(c *corev1.PersistentVolumeClaim) {
		c.Annotations = map[string]string{contract.AnnotationClaimIgnored: "true"}
	})
	s.becomes(t, "idle", "Ignored")
	label := func(value string) {
		whole := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
		patched(t, whole, func(n *corev1.Namespace) {
			n.Labels = map[string]string{contract.LabelExcludeFromBackup: value}
		})
	}
	label("true")
	named := "includes namespace " + namespace + " by name"
	if state := s.becomes(t, "web", "NoSchedule"); !strings.Contains(state.Message, named) {
		t.Errorf("the message is %s", state.Message)
	}
	label("false")
	s.becomes(t, "web", "restic")
	patched(t, schedule, func(s *velerov1.Schedule) { s.Spec.Paused = true })
	s.becomes(t, "web", "NoSchedule")
	if err := shared.client.Delete(t.Context(), pod, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	patched(t, schedule, func(s *velerov1.Schedule) { s.Spec.Paused = false })
	s.becomes(t, "web", "Unmounted")
	patched(t, claim, func(c *corev1.PersistentVolumeClaim) { c.Finalizers = nil })
	if err := shared.client.Delete(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	s.becomes(t, "web", "")
}

// TestInventoryDecidesAboutWhatAnEventConcerns counts decisions. The tests of this package run one after the other, so
// nobody else causes any.
func TestInventoryDecidesAboutWhatAnEventConcerns(t *testing.T) {
	namespace := agentNamespace(t)
	pods := map[string]*corev1.Pod{}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		pods[name], _ = claimOfPod(t, namespace, name)
	}
	schedule := &velerov1.Schedule{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "hourly"},
		Spec: velerov1.ScheduleSpec{Schedule: "@hourly", Template: velerov1.BackupSpec{
			IncludedNamespaces: []string{namespace},
		}},
	}
	storageLocation(t, namespace)
	createAll(t, schedule)
	s := startStock(t, namespace, shared.config)
	s.sync(t)
	before := s.Evaluations()
	// What Velero writes again and again, and what this project does, comes before what can be seen to have come.
	for range 10 {
		patched(t, schedule, func(s *velerov1.Schedule) {
			now := metav1.Now()
			s.Status.LastBackup = &now
			s.Status.Phase = velerov1.SchedulePhaseEnabled
			s.Labels = map[string]string{"written": strings.ReplaceAll(now.Format("150405.000000"), ".", "-")}
		})
		patched(t, pods["b"], func(p *corev1.Pod) {
			p.Annotations = map[string]string{"example.com/seen": time.Now().String()}
		})
	}
	ask := func(p *corev1.Pod) { p.Annotations = map[string]string{contract.AnnotationVolumesToBackup: "data"} }
	patched(t, pods["a"], ask)
	s.becomes(t, "a", "NoPolicy")
	patched(t, pods["c"], ask)
	s.becomes(t, "c", "NoPolicy")
	if got := s.Evaluations() - before; got != 2 {
		t.Errorf("%d decisions were made about two claims", got)
	}
}

func TestInventorySaysWhatItMayNotRead(t *testing.T) {
	namespace := agentNamespace(t)
	config := rest.CopyConfig(shared.config)
	config.Impersonate.UserName = "nobody"
	s := startStock(t, namespace, config)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err := s.WaitForSync(ctx)
	if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "forbidden") ||
		!strings.Contains(err.Error(), "backups.velero.io") {
		t.Errorf("got %v", err)
	}
	if states := s.States(time.Now()); states != nil {
		t.Errorf("there are %d states", len(states))
	}
}

func TestInventoryPlansABackup(t *testing.T) {
	namespace := agentNamespace(t)
	pod, _ := claimOfPod(t, namespace, "web")
	patched(t, pod, func(p *corev1.Pod) {
		p.Annotations = map[string]string{contract.AnnotationVolumesToBackup: "data"}
	})
	storageLocation(t, namespace)
	s := startStock(t, namespace, shared.config)
	s.sync(t)
	for name, c := range map[string]struct {
		request  inventory.PlanRequest
		want     string
		excluded scope.Reason
	}{
		"without any policy": {request: inventory.PlanRequest{Namespace: namespace}, want: "NoPolicy"},
		"another namespace": {inventory.PlanRequest{Namespace: namespace, Spec: velerov1.BackupSpec{
			IncludedNamespaces: []string{"other"},
		}}, "its namespace is not included", scope.ReasonNamespace},
		"of a pod that is not there": {
			request: inventory.PlanRequest{Namespace: namespace, Pod: "gone"}, want: "not found",
		},
		"of a schedule that is not there": {
			request: inventory.PlanRequest{Namespace: namespace, Schedule: "gone"}, want: "not found",
		},
	} {
		t.Run(name, func(t *testing.T) {
			previews, err := s.Plan(t.Context(), c.request)
			got := ""
			switch {
			case errors.Is(err, inventory.ErrNotFound):
				got = "not found"
			case err != nil:
				t.Fatal(err)
			default:
				got = previews[0].Message + string(previews[0].Volumes[0].Reason)
				if previews[0].Excluded != c.excluded {
					t.Errorf("the pod is excluded with reason %q, want %q", previews[0].Excluded, c.excluded)
				}
			}
			if !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s: %+v", got, c.want, previews)
			}
		})
	}
}
