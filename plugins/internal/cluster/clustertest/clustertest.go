// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package clustertest makes clusters for the tests of the actions, and the objects that most of them need.
package clustertest

import (
	"context"
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster"
)

// Names in the objects below.
const (
	Velero   = "velero-ns"
	Node     = "node-1"
	Location = "default"
)

// Now is the time in every test's cluster.
func Now() time.Time { return time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC) }

// New returns a cluster with these objects. The functions, which may be empty, intercept calls of its client.
func New(t *testing.T, calls interceptor.Funcs, objects ...client.Object) *cluster.Cluster {
	t.Helper()
	scheme, err := cluster.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&resticv1.PodVolumeBackup{}, &resticv1.PodVolumeRestore{}).
		WithIndex(&corev1.Pod{}, cluster.NodeField, func(object client.Object) []string {
			pod, isPod := object.(*corev1.Pod)
			if !isPod {
				return nil
			}
			return []string{pod.Spec.NodeName}
		}).
		WithInterceptorFuncs(dated(calls)).Build()
	return &cluster.Cluster{Context: t.Context(), Client: c, Namespace: Velero, Now: Now}
}

// dated has every object created now, as the API server would.
func dated(calls interceptor.Funcs) interceptor.Funcs {
	create := calls.Create
	calls.Create = func(
		ctx context.Context, c client.WithWatch, object client.Object, options ...client.CreateOption,
	) error {
		object.SetCreationTimestamp(metav1.NewTime(Now()))
		if create != nil {
			return create(ctx, c, object, options...)
		}
		return c.Create(ctx, object, options...)
	}
	return calls
}

// Agent returns the pod of our agent on a node, which is ready or not.
func Agent(node string, ready corev1.ConditionStatus) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: Velero, Name: "restic-" + node,
			Labels: map[string]string{contract.AgentLabelKey: contract.AgentLabelValue},
		},
		Spec: corev1.PodSpec{NodeName: node},
		Status: corev1.PodStatus{
			Phase:      corev1.PodRunning,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}},
		},
	}
}

// Backup returns a backup in progress, with the policy that has Velero's core stand aside for labeled claims and for
// emptyDir: see Policy.
func Backup() *velerov1.Backup {
	return &velerov1.Backup{
		ObjectMeta: metav1.ObjectMeta{Namespace: Velero, Name: "nightly", UID: "backup-uid"},
		Spec: velerov1.BackupSpec{
			StorageLocation:      Location,
			ItemOperationTimeout: metav1.Duration{Duration: time.Hour},
			ResourcePolicy:       &corev1.TypedLocalObjectReference{Kind: "configmap", Name: "policy"},
		},
		Status: velerov1.BackupStatus{Phase: velerov1.BackupPhaseInProgress},
	}
}

// Policy returns the ConfigMap that Backup names.
func Policy() *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: Velero, Name: "policy"},
		Data: map[string]string{"policy.yaml": `version: v1
volumePolicies:
- conditions:
    pvcLabels:
      restic.velero.io/backup: "true"
  action:
    type: custom
- conditions:
    volumeTypes: [emptyDir]
  action:
    type: custom
`},
	}
}

// Rules returns a ConfigMap with rules that select volumes.
func Rules(name, content string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: Velero, Name: name,
			Labels: map[string]string{
				contract.LabelPluginConfig: "", contract.LabelPluginName: contract.PluginKindBackup,
			},
		},
		Data: map[string]string{"rules.yaml": content},
	}
}

// Claim returns a bound claim, and the volume that it is bound to.
func Claim(name string, labels map[string]string) (*corev1.PersistentVolumeClaim, *corev1.PersistentVolume) {
	mode := corev1.PersistentVolumeFilesystem
	claim := &corev1.PersistentVolumeClaim{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "app", Name: name, UID: types.UID("uid-of-claim-" + name), Labels: labels,
		},
		Spec:   corev1.PersistentVolumeClaimSpec{VolumeName: "pv-" + name, VolumeMode: &mode},
		Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
	}
	volume := &corev1.PersistentVolume{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolume"},
		ObjectMeta: metav1.ObjectMeta{Name: "pv-" + name},
		Spec: corev1.PersistentVolumeSpec{
			VolumeMode: &mode,
			ClaimRef:   &corev1.ObjectReference{Kind: "PersistentVolumeClaim", Namespace: "app", Name: name},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				Local: &corev1.LocalVolumeSource{Path: "/mnt/" + name},
			},
		},
		Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound},
	}
	return claim, volume
}

// Pod returns a running pod with volumes: a name with a claim's name, or with an empty one for an emptyDir. All of them
// are asked for.
func Pod(name string, volumes ...[2]string) *corev1.Pod {
	pod := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "app", Name: name, UID: types.UID("uid-of-pod-" + name), Annotations: map[string]string{},
		},
		Spec:   corev1.PodSpec{NodeName: Node, Containers: []corev1.Container{{Name: "main", Image: "app:1"}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, entry := range volumes {
		volume := corev1.Volume{Name: entry[0]}
		if entry[1] == "" {
			volume.EmptyDir = &corev1.EmptyDirVolumeSource{}
		} else {
			volume.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: entry[1]}
		}
		pod.Spec.Volumes = append(pod.Spec.Volumes, volume)
		pod.Spec.Containers[0].VolumeMounts = append(pod.Spec.Containers[0].VolumeMounts,
			corev1.VolumeMount{Name: entry[0], MountPath: "/" + entry[0]})
		asked := pod.Annotations[contract.AnnotationVolumesToBackup]
		if asked != "" {
			asked += ","
		}
		pod.Annotations[contract.AnnotationVolumesToBackup] = asked + entry[0]
	}
	return pod
}

// Unstructured returns an object as Velero hands it to an action.
func Unstructured(t *testing.T, object client.Object) *unstructured.Unstructured {
	t.Helper()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: fields}
}
