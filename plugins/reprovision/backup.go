// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package reprovision

import (
	"fmt"

	"github.com/sirupsen/logrus"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	backupitemaction "github.com/vmware-tanzu/velero/pkg/plugin/velero/backupitemaction/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/survey"
)

// BackupAction implements Velero's BackupItemAction v2.
type BackupAction struct {
	log     logrus.FieldLogger
	cluster *cluster.Cluster
}

// NewBackupAction returns the action for backups.
func NewBackupAction(log logrus.FieldLogger, c *cluster.Cluster) *BackupAction {
	return &BackupAction{log: log, cluster: c}
}

// Name returns the name that the action is registered under.
func (a *BackupAction) Name() string { return PluginName }

// AppliesTo selects claims and volumes.
func (a *BackupAction) AppliesTo() (velero.ResourceSelector, error) {
	return velero.ResourceSelector{IncludedResources: []string{"persistentvolumeclaims", "persistentvolumes"}}, nil
}

// Execute marks the backup's copy of a claim or volume whose content is taken with restic, and takes the marks of
// earlier backups off it. A volume that Velero could make a snapshot of stays out of the backup, so that it makes none:
// it would be a second copy, and a restore would make a disk of it that nobody uses. Its claim is then in the backup
// without the volume's name, for which Velero would look at a restore, and warn. The error keeps the item out of the
// backup: unmarked, it could not be restored.
func (a *BackupAction) Execute(item runtime.Unstructured, backup *velerov1.Backup) (
	runtime.Unstructured, []velero.ResourceIdentifier, string, []velero.ResourceIdentifier, error,
) {
	copied := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(item.UnstructuredContent())}
	clean(copied)
	namespace, name, err := claimOf(copied)
	if err != nil {
		return nil, nil, "", nil, err
	}
	taken, err := a.takes(backup, namespace, name)
	if err != nil {
		return nil, nil, "", nil, err
	}
	if taken {
		annotations := copied.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[contract.AnnotationReprovision] = backup.Name
		copied.SetAnnotations(annotations)
		if snapshots(backup) {
			leaveOut(copied)
		}
	}
	return copied, nil, "", nil, nil
}

// leaveOut keeps a volume out of the backup, and the volume's name out of its claim.
func leaveOut(item *unstructured.Unstructured) {
	if item.GetKind() == kindClaim {
		unstructured.RemoveNestedField(item.Object, "spec", "volumeName")
		return
	}
	annotations := item.GetAnnotations()
	annotations[velerov1.SkipFromBackupAnnotation] = "true"
	item.SetAnnotations(annotations)
}

// snapshots says whether Velero's core could make snapshots of PersistentVolumes. It asks volume policies without the
// claim that has our label, and knows no rules (velero v1.18.3, internal/volumehelper/volume_policy_helper.go,
// ShouldPerformSnapshot). By now the Backup names the locations that core has chosen for it (pkg/controller/
// backup_controller.go, prepareBackupRequest).
func snapshots(backup *velerov1.Backup) bool { return len(backup.Spec.VolumeSnapshotLocations) > 0 }

// Progress fails: the action starts no operation.
func (a *BackupAction) Progress(operationID string, _ *velerov1.Backup) (velero.OperationProgress, error) {
	return velero.OperationProgress{}, backupitemaction.InvalidOperationIDError(operationID)
}

// Cancel fails: the action starts no operation.
func (a *BackupAction) Cancel(operationID string, _ *velerov1.Backup) error {
	return backupitemaction.InvalidOperationIDError(operationID)
}

// takes says whether the backup takes the content of a claim with restic. The claim's label is what stands in the API
// server now: Velero's copy is from before the ItemBlockAction, and its own action for pods may back the claim up
// before ours for pods runs. The label alone could be another backup's, so the pods are asked as well.
func (a *BackupAction) takes(backup *velerov1.Backup, namespace, name string) (bool, error) {
	if name == "" {
		return false, nil
	}
	var claim corev1.PersistentVolumeClaim
	err := a.cluster.Get(namespace, name, &claim)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading PersistentVolumeClaim %s/%s: %w", namespace, name, err)
	}
	s, err := survey.New(a.cluster, backup)
	if err != nil {
		return false, err
	}
	return s.Takes(&claim)
}

// claimOf returns the namespace and name of the claim that the item is, or that the volume is bound to, empty without.
func claimOf(item *unstructured.Unstructured) (namespace, name string, err error) {
	if item.GetKind() == kindClaim {
		return item.GetNamespace(), item.GetName(), nil
	}
	var volume corev1.PersistentVolume
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &volume); err != nil {
		return "", "", fmt.Errorf("reading %s %s to back up: %w", item.GetKind(), item.GetName(), err)
	}
	if volume.Spec.ClaimRef == nil {
		return "", "", nil
	}
	return volume.Spec.ClaimRef.Namespace, volume.Spec.ClaimRef.Name, nil
}

// clean takes off what an earlier backup put on, which a restore by another version may have left there.
func clean(item *unstructured.Unstructured) {
	if annotations := item.GetAnnotations(); annotations[contract.AnnotationReprovision] != "" {
		delete(annotations, contract.AnnotationReprovision)
		item.SetAnnotations(annotations)
	}
	if labels := item.GetLabels(); labels[contract.LabelClaimed] != "" {
		delete(labels, contract.LabelClaimed)
		item.SetLabels(labels)
	}
}
