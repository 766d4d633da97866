// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package agenttest

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

func PodVolumeRestore(name, podName string) *resticv1.PodVolumeRestore {
	restore := &resticv1.PodVolumeRestore{ObjectMeta: Meta(Velero, name)}
	restore.Labels = map[string]string{contract.LabelRestoreUID: RestoreUID}
	restore.Spec = resticv1.PodVolumeRestoreSpec{
		Pod: corev1.ObjectReference{Kind: "Pod", Namespace: Shop, Name: podName}, Volume: "data", PVC: "data-web",
		BackupStorageLocation: Location, Repository: contract.RepositoryName(Shop, Location), SourceNamespace: Shop,
		SnapshotID: "snapshot", SnapshotTags: map[string]string{contract.TagBackupUID: "backup-1"},
		RestoreUID: RestoreUID, Timeout: metav1.Duration{Duration: 4 * time.Hour}, WriteSparseFiles: true,
	}
	return restore
}

// RestoreUID is that of the Velero restore.
const RestoreUID = "restore-uid-1"

// RestoredPod is a pod with this restore's init container.
func RestoredPod(name string, state corev1.ContainerState) *corev1.Pod {
	object := Pod(name)
	object.Spec.InitContainers = []corev1.Container{{
		Name: contract.RestoreContainer, Command: []string{contract.RestoreHelperCommand}, Args: []string{RestoreUID},
	}}
	object.Status.InitContainerStatuses = []corev1.ContainerStatus{
		{Name: "another", State: Running()}, {Name: contract.RestoreContainer, State: state},
	}
	return object
}

func Running() corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
}

const RestoreName = "pvr-1"

func Waiting(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
}
