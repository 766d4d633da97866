// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package podbackup

import (
	"fmt"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
)

// create makes the PodVolumeBackup of a volume and returns it, or the one that is there already: from an earlier
// attempt of Velero at the same pod, or from another pod that shares the claim.
func (r *request) create(d selection.Decision) (*resticv1.PodVolumeBackup, error) {
	object := r.object(d)
	err := r.cluster.Retry(func() error {
		return r.cluster.Client.Create(r.cluster.Context, object)
	})
	if !apierrors.IsAlreadyExists(err) {
		if err != nil {
			return nil, fmt.Errorf("creating PodVolumeBackup %s/%s: %w", object.Namespace, object.Name, err)
		}
		return object, nil
	}
	var existing resticv1.PodVolumeBackup
	if err := r.cluster.Get(object.Namespace, object.Name, &existing); err != nil {
		return nil, fmt.Errorf("reading PodVolumeBackup %s/%s, which exists already: %w",
			object.Namespace, object.Name, err)
	}
	if existing.Spec.Pod.UID != r.pod.UID {
		r.log.Infof("volume %s of pod %s/%s shares PersistentVolumeClaim %s with pod %s, through which it is taken "+
			"once", d.Volume, r.pod.Namespace, r.pod.Name, claimName(d), existing.Spec.Pod.Name)
	}
	return &existing, nil
}

// object returns the PodVolumeBackup of a volume.
func (r *request) object(d selection.Decision) *resticv1.PodVolumeBackup {
	backup, pod := r.backup, r.pod
	object := &resticv1.PodVolumeBackup{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   r.cluster.Namespace,
			Name:        contract.BackupVolumeName(backup.Name, string(backup.UID), r.source(d)),
			Labels:      r.labels(d),
			Annotations: map[string]string{},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: velerov1.SchemeGroupVersion.String(), Kind: "Backup", Name: backup.Name, UID: backup.UID,
				Controller: ptr.To(false), BlockOwnerDeletion: ptr.To(false),
			}},
		},
		Spec: resticv1.PodVolumeBackupSpec{
			Node: pod.Spec.NodeName,
			Pod: corev1.ObjectReference{
				Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
			},
			Volume:                d.Volume,
			BackupStorageLocation: backup.Spec.StorageLocation,
			RepoIdentifier:        r.identifier,
			Repository:            contract.RepositoryName(pod.Namespace, backup.Spec.StorageLocation),
			Timeout:               metav1.Duration{Duration: timeoutOf(backup)},
		},
	}
	if d.Claim != nil {
		object.Annotations[contract.AnnotationPVCName] = d.Claim.Name
	}
	if d.Rule != "" {
		object.Annotations[contract.AnnotationRule] = d.Rule
	}
	if !d.Take {
		object.Spec.Skip = &resticv1.SkipReason{Reason: string(d.Reason), Message: d.Message}
		return object
	}
	object.Spec.Tags = r.tags(d, object.Name)
	return object
}

func (r *request) labels(d selection.Decision) map[string]string {
	labels := map[string]string{
		contract.LabelBackupName:        contract.LabelValue(r.backup.Name),
		contract.LabelBackupUID:         contract.LabelValue(string(r.backup.UID)),
		contract.LabelPodUID:            contract.LabelValue(string(r.pod.UID)),
		contract.LabelStorageLocation:   contract.LabelValue(r.backup.Spec.StorageLocation),
		contract.LabelVolumeNamespace:   contract.LabelValue(r.pod.Namespace),
		contract.LabelExcludeFromBackup: "true",
	}
	if d.Claim != nil {
		labels[contract.LabelPVCUID] = contract.LabelValue(string(d.Claim.UID))
	}
	return labels
}

func (r *request) tags(d selection.Decision, name string) map[string]string {
	tags := contract.SnapshotTags{
		Backup: r.backup.Name, BackupUID: string(r.backup.UID),
		Pod: r.pod.Name, PodUID: string(r.pod.UID), Namespace: r.pod.Namespace, Volume: d.Volume,
		PodVolumeBackup: name,
	}
	if d.Claim != nil {
		tags.PVC, tags.PVCUID = d.Claim.Name, string(d.Claim.UID)
	}
	return tags.Map()
}
