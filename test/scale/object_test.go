// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package scale

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

func newVolume(namespace, slot int, k kind) *corev1.PersistentVolume {
	volume := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: volumeName(namespace, slot), ManagedFields: managed()},
		Status:     corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:         corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: "standard", PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			ClaimRef: &corev1.ObjectReference{Namespace: namespaceName(namespace), Name: claimName(slot)},
		},
	}
	if k.snapshots {
		volume.Spec.CSI = &corev1.CSIPersistentVolumeSource{
			Driver: "ebs.csi.aws.com", VolumeHandle: volume.Name, FSType: "ext4",
			VolumeAttributes: map[string]string{"storage.kubernetes.io/csiProvisionerIdentity": "1-8081-ebs.csi.aws.com"},
		}
		return volume
	}
	volume.Spec.NFS = &corev1.NFSVolumeSource{Server: "nfs.example.com", Path: "/exports/" + volume.Name}
	return volume
}

func volumeName(namespace, slot int) string {
	return fmt.Sprintf("pvc-%08d-0000-4000-8000-%012d", namespace, slot)
}

func newClaim(namespace, slot int, k kind) *corev1.PersistentVolumeClaim {
	class := "standard"
	claim := &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespaceName(namespace), Name: claimName(slot), UID: uuid.NewUUID(),
			ManagedFields: managed(),
			Labels:        map[string]string{"app.kubernetes.io/name": podName(slot), "app.kubernetes.io/managed-by": "Helm"},
			Annotations: map[string]string{
				"pv.kubernetes.io/bind-completed":               "yes",
				"volume.kubernetes.io/storage-provisioner":      "example.com/nfs",
				"volume.beta.kubernetes.io/storage-provisioner": "example.com/nfs",
			},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: &class, VolumeName: volumeName(namespace, slot),
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")},
			},
		},
		Status: corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
	}
	if k.ignored {
		claim.Annotations["backup.velero.io/backup-excluded"] = "true"
	}
	if k.ruled {
		claim.Labels["ruled"] = "yes"
	}
	return claim
}

// newPod returns a pod of usual size: what a cache could keep of it without need is there.
func newPod(namespace, slot int, k kind) *corev1.Pod {
	mounts := []corev1.VolumeMount{{Name: "cache", MountPath: "/cache"}}
	data := corev1.Volume{Name: "data"}
	data.PersistentVolumeClaim = &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claimName(slot)}
	if k.apart {
		data.VolumeSource = corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	}
	if !k.unmounted {
		mounts = append(mounts, corev1.VolumeMount{Name: "data", MountPath: "/data"})
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespaceName(namespace), Name: podName(slot), UID: uuid.NewUUID(), ManagedFields: managed(),
			Annotations: map[string]string{
				"checksum/config": "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
			},
			Labels: map[string]string{
				"app": podName(slot), "app.kubernetes.io/name": podName(slot), "app.kubernetes.io/managed-by": "Helm",
			},
		},
		Spec: corev1.PodSpec{
			NodeName: nodeName(namespace*slots + slot),
			Volumes: []corev1.Volume{data, {
				Name: "cache", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
			}, {Name: "settings", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: "settings"},
			}}}},
			Containers:    []corev1.Container{container("main", mounts), container("proxy", nil)},
			RestartPolicy: corev1.RestartPolicyAlways, DNSPolicy: corev1.DNSClusterFirst,
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1", QOSClass: corev1.PodQOSBurstable},
	}
	if k.pending {
		pod.Status.Phase = corev1.PodPending
	}
	if k.asked {
		pod.Annotations[contract.AnnotationVolumesToBackup] = "data"
	}
	if k.gold {
		pod.Labels["tier"] = "gold"
	}
	return pod
}

// managed is who has written which field, as much as a Deployment's pod has of it.
func managed() []metav1.ManagedFieldsEntry {
	fields := []byte(`{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{` +
		strings.Repeat(`"f:someField":{"f:anotherField":{}},`, 40) + `"f:volumeName":{}}}`)
	now := metav1.Now()
	return []metav1.ManagedFieldsEntry{{
		Manager: "kube-controller-manager", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1", Time: &now,
		FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: fields},
	}}
}

func container(name string, mounts []corev1.VolumeMount) corev1.Container {
	c := corev1.Container{
		Name: name, Image: "registry.example.com/some/application/" + name + ":v1.2.3", VolumeMounts: mounts,
		Command: []string{"/bin/application", "--listen=:8080", "--config=/etc/application/config.yaml"},
		Ports:   []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("64Mi"),
		}},
	}
	for i := range 12 {
		c.Env = append(c.Env, corev1.EnvVar{
			Name: fmt.Sprintf("APPLICATION_SETTING_%d", i), Value: fmt.Sprintf("some value of middling length, number %d", i),
		})
	}
	return c
}

// newBackup returns the backup of a claim that the plugin made at that place in its history.
func newBackup(claim *corev1.PersistentVolumeClaim, pod *corev1.Pod, k kind, place int) *resticv1.PodVolumeBackup {
	name := "backup-" + strconv.Itoa(place)
	end := metav1.NewTime(time.Now().Add(-k.history[place]))
	begin := metav1.NewTime(end.Add(-time.Minute))
	backup := &resticv1.PodVolumeBackup{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: veleroNamespace, Name: backupName(place, claim.Namespace, claim.Name),
			Labels: map[string]string{
				contract.LabelBackupName: name, contract.LabelBackupUID: name,
				contract.LabelPodUID: string(pod.UID), contract.LabelPVCUID: string(claim.UID),
				contract.LabelStorageLocation: "default", contract.LabelVolumeNamespace: claim.Namespace,
				contract.LabelExcludeFromBackup: "true",
			},
			Annotations:   map[string]string{contract.AnnotationPVCName: claim.Name},
			ManagedFields: managed(),
		},
		Spec: resticv1.PodVolumeBackupSpec{
			Node: pod.Spec.NodeName, Volume: "data", BackupStorageLocation: "default",
			Pod:            corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID},
			Repository:     contract.RepositoryName(pod.Namespace, "default"),
			RepoIdentifier: "s3:https://s3.example.com/backups/restic/" + pod.Namespace,
			Tags: map[string]string{
				"backup": name, "backup-uid": name, "pod": pod.Name, "pod-uid": string(pod.UID), "ns": pod.Namespace,
				"volume": "data", "pvc-uid": string(claim.UID),
			},
			Timeout: metav1.Duration{Duration: 4 * time.Hour},
		},
	}
	backup.Status = resticv1.PodVolumeBackupStatus{
		VolumeStatus: resticv1.VolumeStatus{
			Phase: resticv1.PhaseCompleted, StartTimestamp: &begin, CompletionTimestamp: &end,
			Progress: resticv1.VolumeProgress{TotalBytes: bytesOf(place), BytesDone: bytesOf(place)},
		},
		SnapshotID: "4bba301e1ee1f4bf1a9c2b3a3ea4b3a4dbd1a3a1a4f8f3f1a5e2d3b0a1c9d8e7",
		Summary:    &resticv1.BackupSummary{FilesUnmodified: 1000, BytesProcessed: bytesOf(place)},
	}
	if k.failed && place == 0 {
		backup.Status.Phase, backup.Status.Message = resticv1.PhaseFailed, "the storage was full"
	}
	return backup
}

func backupName(place int, namespace, claim string) string {
	return fmt.Sprintf("backup-%d-%s-%s", place, namespace, claim)
}

// bytesOf is the size of a claim's files at a place in its history.
func bytesOf(place int) int64 { return int64(1000 - place) }
