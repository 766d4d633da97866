// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package agenttest

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// RulesLabels are what a ConfigMap with rules is found by.
func RulesLabels() map[string]string {
	return map[string]string{contract.LabelPluginConfig: "", contract.LabelPluginName: contract.PluginKindBackup}
}

func Ago(now time.Time, d time.Duration) *metav1.Time {
	at := metav1.NewTime(now.Add(-d))
	return &at
}

func SettingsMap(content string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: Meta(Velero, contract.MaintenanceConfigMap), Data: map[string]string{"global": content},
	}
}

func Meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: metav1.Now()}
}

// Pod is one of the shop's with an emptyDir "cache" and a claim's volume "data", both mounted.
func Pod(name string) *corev1.Pod {
	object := &corev1.Pod{ObjectMeta: Meta(Shop, name), Spec: corev1.PodSpec{NodeName: Node}}
	object.UID = "uid-of-web"
	object.Spec.Volumes = []corev1.Volume{
		{Name: "cache", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-web"},
		}},
	}
	object.Spec.Containers = []corev1.Container{{VolumeMounts: []corev1.VolumeMount{{Name: "cache"}, {Name: "data"}}}}
	return object
}

// Storage is the claim of pod's volume "data", and what it is bound to.
func Storage() []client.Object {
	return []client.Object{
		&corev1.PersistentVolumeClaim{
			ObjectMeta: Meta(Shop, "data-web"), Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "pv-1"},
		},
		&corev1.PersistentVolume{ObjectMeta: Meta("", "pv-1")},
	}
}

func PodVolumeBackup(name, volume string) *resticv1.PodVolumeBackup {
	backup := &resticv1.PodVolumeBackup{ObjectMeta: Meta(Velero, name)}
	backup.Spec = resticv1.PodVolumeBackupSpec{
		Node: Node, Volume: volume, BackupStorageLocation: Location,
		Pod:        corev1.ObjectReference{Kind: "Pod", Namespace: Shop, Name: "web", UID: "uid-of-web"},
		Repository: contract.RepositoryName(Shop, Location), Timeout: metav1.Duration{Duration: 4 * time.Hour},
		Tags: map[string]string{contract.TagBackupUID: "backup-1"},
	}
	return backup
}

const BackupName = "pvb-1"
