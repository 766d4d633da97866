// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package podrestore

import (
	"fmt"
	"slices"

	"github.com/sirupsen/logrus"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster"
)

// Reasons in spec.skip of a PodVolumeRestore.
const (
	// ReasonPodExists: the pod is there already, and Velero leaves it alone.
	ReasonPodExists = "PodExists"
	// ReasonDriverContent: an inline CSI volume for reading only, which its driver fills.
	ReasonDriverContent = "DriverContent"
	// ReasonNotBackedUp: the backup of the volume did not succeed.
	ReasonNotBackedUp = "NotBackedUp"
)

// request is one call of Execute for a pod with volumes to restore.
type request struct {
	*Action
	log     logrus.FieldLogger
	restore *velerov1.Restore
	source  *corev1.Pod
	note    contract.PodNote
	target  string // namespace
	// location is the backup storage location that the backup lies in.
	location string
	// warnings are for people who look at the restore.
	warnings []string
	// identifier is the repository as restic names it, if that is known.
	identifier string
}

// plan is what becomes of one volume.
type plan struct {
	volume     contract.TakenVolume
	snapshotID string
	skip       *resticv1.SkipReason
}

// prepare makes the custom resources, puts the init container into the pod unless nothing is to be restored, and
// returns the names of the resources.
func (r *request) prepare(pod *unstructured.Unstructured) ([]string, error) {
	var backup velerov1.Backup
	if err := r.cluster.Get(r.cluster.Namespace, r.restore.Spec.BackupName, &backup); err != nil {
		return nil, fmt.Errorf("reading backup %s/%s: %w", r.cluster.Namespace, r.restore.Spec.BackupName, err)
	}
	r.location = backup.Spec.StorageLocation
	plans, err := r.plans()
	if err != nil {
		return nil, err
	}
	var mounts []string
	for _, p := range plans {
		if p.skip != nil {
			r.log.Warn(p.skip.Message)
			continue
		}
		mounts = append(mounts, p.volume.Volume)
	}
	if len(mounts) > 0 {
		repository, err := r.cluster.EnsureRepository(r.source.Namespace, r.location, cluster.ToRestore)
		if err != nil {
			return nil, err
		}
		r.identifier = repository.Status.ResticIdentifier
		if err := makeWritable(pod, mounts); err != nil {
			return nil, err
		}
		if r.warnings, err = r.addHelper(pod, mounts); err != nil {
			return nil, err
		}
	}
	return r.createAll(plans)
}

// plans decides for each volume whether it is restored, and from what.
func (r *request) plans() ([]plan, error) {
	var existing corev1.Pod
	err := r.cluster.Get(r.target, r.source.Name, &existing)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("looking whether pod %s/%s exists: %w", r.target, r.source.Name, err)
	}
	exists := err == nil
	plans := make([]plan, 0, len(r.note.Volumes))
	for _, volume := range r.note.Volumes {
		p := plan{volume: volume}
		switch {
		case exists:
			p.skip = &resticv1.SkipReason{Reason: ReasonPodExists, Message: fmt.Sprintf(
				"volume %s of pod %s/%s is not restored: the pod exists already, and Velero leaves it as it is. "+
					"Delete the pod and what re-creates it, and restore again, for its data to be restored",
				volume.Volume, r.target, r.source.Name)}
		case r.filledByDriver(volume.Volume):
			p.skip = &resticv1.SkipReason{Reason: ReasonDriverContent, Message: fmt.Sprintf(
				"volume %s of pod %s/%s is not restored: it is an inline CSI volume for reading only, and its driver "+
					"fills it", volume.Volume, r.target, r.source.Name)}
		default:
			if err := r.lookUp(&p); err != nil {
				return nil, err
			}
		}
		plans = append(plans, p)
	}
	return plans, nil
}

// filledByDriver finds volumes that are in a backup though backups do not take them any more.
func (r *request) filledByDriver(name string) bool {
	return slices.ContainsFunc(r.source.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Name == name && selection.FilledByDriver(&v)
	})
}

// lookUp adds what the PodVolumeBackup says. A cluster that has lost it knows the snapshot's tags, which are enough.
func (r *request) lookUp(p *plan) error {
	var taken resticv1.PodVolumeBackup
	err := r.cluster.Get(r.cluster.Namespace, p.volume.PodVolumeBackup, &taken)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading PodVolumeBackup %s/%s: %w", r.cluster.Namespace, p.volume.PodVolumeBackup, err)
	}
	if taken.Labels[contract.LabelBackupUID] != contract.LabelValue(r.note.BackupUID) {
		return nil
	}
	switch taken.Status.Phase {
	case resticv1.PhaseFailed, resticv1.PhaseCanceled, resticv1.PhaseSkipped:
		p.skip = &resticv1.SkipReason{Reason: ReasonNotBackedUp, Message: fmt.Sprintf(
			"volume %s of pod %s/%s is not restored: its backup, PodVolumeBackup %s, is %s (%s). "+
				"The pod starts with the volume empty; restore from another backup for its data",
			p.volume.Volume, r.target, r.source.Name, taken.Name, taken.Status.Phase, taken.Status.Message)}
	case resticv1.PhaseNew, resticv1.PhaseInProgress, resticv1.PhaseCompleted:
		p.snapshotID = taken.Status.SnapshotID
	default:
	}
	return nil
}

// createAll makes a PodVolumeRestore for each plan and returns their names.
func (r *request) createAll(plans []plan) ([]string, error) {
	names := make([]string, 0, len(plans))
	for _, p := range plans {
		object := r.object(p)
		if p.skip == nil {
			// Once for a pod is enough.
			object.Spec.Warnings, r.warnings = r.warnings[:min(len(r.warnings), resticv1.MaxWarnings)], nil
		}
		err := r.cluster.Retry(func() error { return r.cluster.Client.Create(r.cluster.Context, object) })
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return nil, fmt.Errorf("creating PodVolumeRestore %s/%s for volume %s: %w",
				object.Namespace, object.Name, p.volume.Volume, err)
		}
		names = append(names, object.Name)
	}
	return names, nil
}

// object returns the PodVolumeRestore of a volume.
func (r *request) object(p plan) *resticv1.PodVolumeRestore {
	restore, uid := r.restore, string(r.restore.UID)
	config := restore.Spec.UploaderConfig
	return &resticv1.PodVolumeRestore{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: r.cluster.Namespace,
			Name:      contract.RestoreVolumeName(restore.Name, uid, r.target, r.source.Name, p.volume.Volume),
			Labels: map[string]string{
				contract.LabelRestoreName:       contract.LabelValue(restore.Name),
				contract.LabelRestoreUID:        contract.LabelValue(uid),
				contract.LabelBackupName:        contract.LabelValue(restore.Spec.BackupName),
				contract.LabelStorageLocation:   contract.LabelValue(r.location),
				contract.LabelVolumeNamespace:   contract.LabelValue(r.source.Namespace),
				contract.LabelExcludeFromBackup: "true",
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: velerov1.SchemeGroupVersion.String(), Kind: "Restore",
				Name: restore.Name, UID: restore.UID,
				Controller: ptr.To(false), BlockOwnerDeletion: ptr.To(false),
			}},
		},
		Spec: resticv1.PodVolumeRestoreSpec{
			Pod:                   corev1.ObjectReference{Kind: "Pod", Namespace: r.target, Name: r.source.Name},
			Volume:                p.volume.Volume,
			PVC:                   p.volume.PVC,
			BackupStorageLocation: r.location,
			RepoIdentifier:        r.identifier,
			Repository:            contract.RepositoryName(r.source.Namespace, r.location),
			SnapshotID:            p.snapshotID,
			SnapshotTags: contract.RestoreSelector(
				r.note.BackupUID, p.volume.PodUID, p.volume.SourceVolume),
			Skip:             p.skip,
			SourceNamespace:  r.source.Namespace,
			RestoreUID:       uid,
			Timeout:          metav1.Duration{Duration: timeoutOf(restore)},
			WriteSparseFiles: config != nil && config.WriteSparseFiles != nil && *config.WriteSparseFiles,
		},
	}
}
