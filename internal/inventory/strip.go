// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"slices"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
)

// stripMeta returns the needed metadata of an object, with these annotations.
func stripMeta(m *metav1.ObjectMeta, annotations ...string) metav1.ObjectMeta {
	kept := metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, Labels: m.Labels, DeletionTimestamp: m.DeletionTimestamp,
	}
	for _, key := range annotations {
		if value, found := m.Annotations[key]; found {
			if kept.Annotations == nil {
				kept.Annotations = map[string]string{}
			}
			kept.Annotations[key] = value
		}
	}
	return kept
}

// StripPod removes, in place, what packages scope, selection and volumerule do not need of a pod. Everything that keeps
// many pods in memory for these packages must use it, so that all come to the same result.
func StripPod(pod *corev1.Pod) {
	owners := make([]metav1.OwnerReference, 0, len(pod.OwnerReferences))
	for _, owner := range pod.OwnerReferences {
		owners = append(owners, metav1.OwnerReference{
			APIVersion: owner.APIVersion, Kind: owner.Kind, Name: owner.Name, Controller: owner.Controller,
		})
	}
	spec := corev1.PodSpec{NodeName: pod.Spec.NodeName, OS: pod.Spec.OS, Volumes: pod.Spec.Volumes}
	for i := range spec.Volumes {
		stripSource(&spec.Volumes[i].VolumeSource)
	}
	others := slices.Clone(pod.Spec.InitContainers)
	for _, c := range pod.Spec.EphemeralContainers {
		others = append(others, corev1.Container(c.EphemeralContainerCommon))
	}
	spec.InitContainers = stripContainers(others)
	spec.Containers = stripContainers(pod.Spec.Containers)
	kept := stripMeta(&pod.ObjectMeta, podAnnotations()...)
	kept.OwnerReferences = owners
	*pod = corev1.Pod{ObjectMeta: kept, Spec: spec, Status: corev1.PodStatus{Phase: pod.Status.Phase}}
}

// DropContent removes volumes with content from the API, which nothing backs up.
func DropContent(pod *corev1.Pod) {
	pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Projected != nil || v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil
	})
}

// podAnnotations are the annotations of a pod that package selection reads.
func podAnnotations() []string {
	return []string{
		contract.AnnotationVolumesToBackup, contract.AnnotationVolumesToExclude, contract.AnnotationVolumesByRule,
		corev1.MirrorPodAnnotationKey,
	}
}

// stripContainers merges containers into one with all their mounts, because it does not matter which container mounts a
// volume. Velero's core ignores init containers, so the caller keeps these and ephemeral containers separate.
func stripContainers(containers []corev1.Container) []corev1.Container {
	all := corev1.Container{}
	for _, c := range containers {
		addMounts(&all, c.VolumeMounts, c.VolumeDevices)
	}
	if len(all.VolumeMounts)+len(all.VolumeDevices) == 0 {
		return nil
	}
	return []corev1.Container{all}
}

// addMounts adds the names of a container's mounts, each once; paths do not matter.
func addMounts(all *corev1.Container, mounts []corev1.VolumeMount, devices []corev1.VolumeDevice) {
	for _, mount := range mounts {
		if kept := (corev1.VolumeMount{Name: mount.Name}); !slices.Contains(all.VolumeMounts, kept) {
			all.VolumeMounts = append(all.VolumeMounts, kept)
		}
	}
	for _, device := range devices {
		if kept := (corev1.VolumeDevice{Name: device.Name}); !slices.Contains(all.VolumeDevices, kept) {
			all.VolumeDevices = append(all.VolumeDevices, kept)
		}
	}
}

// stripSource removes the details of volume sources that can be long.
func stripSource(source *corev1.VolumeSource) {
	switch {
	case source.Projected != nil:
		source.Projected = &corev1.ProjectedVolumeSource{}
	case source.ConfigMap != nil:
		source.ConfigMap = &corev1.ConfigMapVolumeSource{}
	case source.Secret != nil:
		source.Secret = &corev1.SecretVolumeSource{}
	case source.DownwardAPI != nil:
		source.DownwardAPI = &corev1.DownwardAPIVolumeSource{}
	case source.Ephemeral != nil:
		source.Ephemeral = &corev1.EphemeralVolumeSource{}
	}
}

// hasClaim returns whether the pod uses a claim.
func hasClaim(pod *corev1.Pod) bool { return len(claimsOf(pod)) > 0 }

// claimsOf returns the names of the pod's claims.
func claimsOf(pod *corev1.Pod) []string {
	if pod == nil {
		return nil
	}
	return selection.ClaimNames(pod)
}

// StripClaim does the same as StripPod for a claim.
func StripClaim(claim *corev1.PersistentVolumeClaim) {
	*claim = corev1.PersistentVolumeClaim{
		ObjectMeta: stripMeta(&claim.ObjectMeta, contract.AnnotationClaimIgnored,
			velerov1.VolumeSnapshotClassDriverPVCAnnotation),
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: claim.Spec.AccessModes, Resources: claim.Spec.Resources, VolumeName: claim.Spec.VolumeName,
			StorageClassName: claim.Spec.StorageClassName, VolumeMode: claim.Spec.VolumeMode,
		},
		Status: corev1.PersistentVolumeClaimStatus{Phase: claim.Status.Phase},
	}
}

// StripVolume does the same as StripPod for a PersistentVolume.
func StripVolume(pv *corev1.PersistentVolume) {
	spec := corev1.PersistentVolumeSpec{
		Capacity: pv.Spec.Capacity, PersistentVolumeSource: pv.Spec.PersistentVolumeSource,
		AccessModes: pv.Spec.AccessModes, StorageClassName: pv.Spec.StorageClassName, VolumeMode: pv.Spec.VolumeMode,
	}
	if spec.CSI != nil {
		spec.CSI = &corev1.CSIPersistentVolumeSource{
			Driver: spec.CSI.Driver, VolumeAttributes: spec.CSI.VolumeAttributes,
		}
	}
	if ref := pv.Spec.ClaimRef; ref != nil {
		spec.ClaimRef = &corev1.ObjectReference{Namespace: ref.Namespace, Name: ref.Name}
	}
	kept := metav1.ObjectMeta{Name: pv.Name}
	if value, found := pv.Labels[contract.LabelExcludeFromBackup]; found {
		kept.Labels = map[string]string{contract.LabelExcludeFromBackup: value}
	}
	*pv = corev1.PersistentVolume{ObjectMeta: kept, Spec: spec}
}

// stripSchedule removes the status, except for FailedValidation, because Velero updates it often.
func stripSchedule(s *velerov1.Schedule) {
	failed := s.Status.Phase == velerov1.SchedulePhaseFailedValidation
	kept := stripMeta(&s.ObjectMeta)
	kept.CreationTimestamp = s.CreationTimestamp
	kept.Annotations = s.Annotations // a backup gets all of them
	delete(kept.Annotations, corev1.LastAppliedConfigAnnotation)
	kept.Labels = nil
	s.TypeMeta = metav1.TypeMeta{} // set in lists, empty in watches
	s.ObjectMeta, s.Status = kept, velerov1.ScheduleStatus{}
	if failed {
		s.Status.Phase = velerov1.SchedulePhaseFailedValidation
	}
	s.Spec.SkipImmediately = nil
	s.Spec.Template.Hooks = velerov1.BackupHooks{}
}

// stripConfigMap keeps data only in ConfigMaps with one key, because policies and rules are alone in theirs.
func stripConfigMap(c *corev1.ConfigMap) {
	data := c.Data
	if len(data) > 1 {
		data = make(map[string]string, len(c.Data))
		for key := range c.Data {
			data[key] = ""
		}
	}
	*c = corev1.ConfigMap{ObjectMeta: stripMeta(&c.ObjectMeta), Data: data}
}

// stripNamed keeps the name and these labels.
func stripNamed(m *metav1.PartialObjectMetadata, labels ...string) {
	kept := map[string]string{}
	for _, key := range labels {
		if value, found := m.Labels[key]; found {
			kept[key] = value
		}
	}
	*m = metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: m.Name, Labels: kept}}
}
