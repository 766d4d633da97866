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

// stripMeta returns what is needed of an object's metadata, with these of its annotations.
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

// StripPod takes out of a pod, in place, what packages scope, selection and volumerule do not look at. Others that hold
// many pods in memory to decide on them use it, too, so that they decide alike.
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

// DropContent takes the volumes out of a pod whose content comes from the API, so that nobody backs them up.
func DropContent(pod *corev1.Pod) {
	pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Projected != nil || v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil
	})
}

// podAnnotations are the annotations of a pod that selection reads.
func podAnnotations() []string {
	return []string{
		contract.AnnotationVolumesToBackup, contract.AnnotationVolumesToExclude, contract.AnnotationVolumesByRule,
		corev1.MirrorPodAnnotationKey,
	}
}

// stripContainers has one container stand for all that mount something: which of them does is all the same. Velero's
// core does not look at init containers, so those stay apart, and ephemeral ones with them.
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

// addMounts adds the names of what a container mounts, each once: where and how is all the same.
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

// stripSource keeps of sources with much content only their kind.
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

// hasClaim says whether the pod uses any claim.
func hasClaim(pod *corev1.Pod) bool { return len(claimsOf(pod)) > 0 }

// claimsOf returns the names of the claims that the pod uses.
func claimsOf(pod *corev1.Pod) []string {
	if pod == nil {
		return nil
	}
	return selection.ClaimNames(pod)
}

// StripClaim is StripPod for a claim.
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

// StripVolume is StripPod for a PersistentVolume.
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

// stripSchedule leaves of the status only that Velero refuses the schedule: it writes the rest again and again.
func stripSchedule(s *velerov1.Schedule) {
	failed := s.Status.Phase == velerov1.SchedulePhaseFailedValidation
	kept := stripMeta(&s.ObjectMeta)
	kept.CreationTimestamp = s.CreationTimestamp
	kept.Annotations = s.Annotations // a backup gets them all
	delete(kept.Annotations, corev1.LastAppliedConfigAnnotation)
	kept.Labels = nil
	s.TypeMeta = metav1.TypeMeta{} // a list leaves it as it came, a watch clears it
	s.ObjectMeta, s.Status = kept, velerov1.ScheduleStatus{}
	if failed {
		s.Status.Phase = velerov1.SchedulePhaseFailedValidation
	}
	s.Spec.SkipImmediately = nil
	s.Spec.Template.Hooks = velerov1.BackupHooks{}
}

// stripConfigMap keeps the content only where it can be policies or rules, which are alone in their ConfigMap.
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

// stripNamed keeps labels, of which those of nodes are few enough.
func stripNamed(m *metav1.PartialObjectMetadata, labels ...string) {
	kept := map[string]string{}
	for _, key := range labels {
		if value, found := m.Labels[key]; found {
			kept[key] = value
		}
	}
	*m = metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: m.Name, Labels: kept}}
}
