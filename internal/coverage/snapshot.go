// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"fmt"
	"slices"
	"strings"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
)

// wantsSnapshot says whether Velero wants a snapshot of the claim (velero v1.18.3,
// internal/volumehelper/volume_policy_helper.go, ShouldPerformSnapshot). The claim is as it is in the backup, with the
// label that the plugin sets, if it does. byPolicy says that a volume policy asks for it.
func (p *Plan) wantsSnapshot(claim *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume, pods []Pod) (
	wanted, byPolicy bool,
) {
	if action, found := p.policyOf(claim, pv); found {
		return action == actionSnapshot, action == actionSnapshot
	}
	if !p.snapshots {
		return false, false
	}
	// A pod that names the volume for a file-system backup keeps Velero from a snapshot, running or not.
	return !slices.ContainsFunc(pods, func(pod Pod) bool {
		return slices.ContainsFunc(pod.Spec.Volumes, func(volume corev1.Volume) bool {
			source := volume.PersistentVolumeClaim
			return source != nil && source.ClaimName == claim.Name && p.coreNames(pod.Pod, volume.Name)
		})
	}), false
}

// coreNames says whether Velero's core goes by the annotations to a file-system backup of the volume
// (the same file, shouldPerformFSBackupLegacy).
func (p *Plan) coreNames(pod *corev1.Pod, volume string) bool {
	if p.choice.defaultVolumes {
		return !slices.Contains(strings.Split(pod.Annotations[velerov1.VolumesToExcludeAnnotation], ","), volume)
	}
	return slices.Contains(strings.Split(pod.Annotations[velerov1.VolumesToBackupAnnotation], ","), volume)
}

// obstacle says why nothing can snapshot the volume, empty if something can.
func (p *Plan) obstacle(claim *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) string {
	switch {
	case pv == nil:
		return "it is bound to no volume"
	case pv.Spec.CSI != nil && p.server.CSI:
		return p.obstacleCSI(claim, pv.Spec.CSI.Driver)
	case !p.Scope.Volumes():
		return "the backups leave PersistentVolumes out"
	case len(p.providers) == 0 && pv.Spec.CSI != nil:
		return "Velero's server does not have the feature EnableCSI, and there is no VolumeSnapshotLocation"
	case len(p.providers) == 0:
		return "it is no CSI volume, and there is no VolumeSnapshotLocation"
	case !slices.ContainsFunc(p.providers, func(provider string) bool { return canSnapshot(provider, pv) }):
		return "the plugins of no VolumeSnapshotLocation are known to take volumes of this type (providers: " +
			strings.Join(p.providers, ", ") + ")"
	}
	return ""
}

// obstacleCSI goes through what Velero's CSI action needs (velero v1.18.3, pkg/backup/actions/csi/pvc_action.go,
// Execute; pkg/util/csi/volume_snapshot.go, GetVolumeSnapshotClass).
func (p *Plan) obstacleCSI(claim *corev1.PersistentVolumeClaim, driver string) string {
	if claim.Spec.StorageClassName == nil {
		return "the claim has no storage class, by which Velero finds the VolumeSnapshotClass"
	}
	if p.moveData && (p.dataMover == "" || p.dataMover == "velero") && !p.server.NodeAgent {
		return "the snapshot's data is to be moved, and Velero's node-agent does not run"
	}
	named := []string{
		claim.Annotations[velerov1.VolumeSnapshotClassDriverPVCAnnotation],
		p.annotations[velerov1.VolumeSnapshotClassDriverBackupAnnotationPrefix+"_"+strings.ToLower(driver)],
	}
	count, preferred := 0, false
	for _, class := range p.server.SnapshotClasses {
		if !strings.EqualFold(class.Driver, driver) {
			continue
		}
		count++
		preferred = preferred || class.Preferred || slices.ContainsFunc(named, func(name string) bool {
			return name != "" && strings.EqualFold(name, class.Name)
		})
	}
	switch {
	case preferred || count == 1:
		return ""
	case count == 0:
		return "there is no VolumeSnapshotClass for driver " + driver
	}
	return fmt.Sprintf("driver %s has %d VolumeSnapshotClasses, and none has label %s",
		driver, count, velerov1.VolumeSnapshotClassSelectorLabel)
}

// canSnapshot says whether the plugin of a provider takes a volume, for those that are known: GetVolumeID of
// velero-plugin-for-aws v1.14.3 and of its likes for Google Cloud and Azure. What is not known does not count: better
// somebody looks without need than nobody.
func canSnapshot(provider string, pv *corev1.PersistentVolume) bool {
	driver := ""
	if pv.Spec.CSI != nil {
		driver = pv.Spec.CSI.Driver
	}
	switch strings.TrimPrefix(provider, "velero.io/") {
	case "aws":
		return pv.Spec.AWSElasticBlockStore != nil || driver == "ebs.csi.aws.com"
	case "gcp":
		return pv.Spec.GCEPersistentDisk != nil || driver == "pd.csi.storage.gke.io"
	case "azure":
		return pv.Spec.AzureDisk != nil || driver == "disk.csi.azure.com"
	}
	return false
}
