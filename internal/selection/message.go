// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package selection

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumepolicy"
)

// basePolicy is the name of the ConfigMap with the volume policies in examples/base.
const basePolicy = "velero-restic-volume-policy"

// name says which volume a message is about.
func (d *decider) name(s subject) string {
	name := fmt.Sprintf("volume %s of pod %s/%s", s.volume.Name, d.Pod.Namespace, d.Pod.Name)
	if s.claimName == "" {
		return name
	}
	return fmt.Sprintf("%s (claim %s)", name, s.claimName)
}

// handOver says how Velero's core is made to leave the volume to this project.
func (d *decider) handOver(s subject) string {
	const custom = "action {type: custom, parameters: {uploader: restic}}"
	switch {
	case s.core.is(volumepolicy.ActionFSBackup):
		return "the backup's volume policies match it with action fs-backup: replace that by " + custom
	case s.volume.Image != nil && d.DefaultVolumes:
		return "name it in the pod's annotation " + contract.AnnotationVolumesToExclude
	case s.volume.Image != nil:
		return "take it out of the pod's annotation " + contract.AnnotationVolumesToBackup
	case s.volume.PersistentVolumeClaim != nil && s.needsLabel && !labeled(s.claim):
		return fmt.Sprintf("its claim lacks the label %s=%s, which the plugin sets: see the plugin's messages in the "+
			"backup's log, or set it with `kubectl -n %s label pvc %s %s=%s`", contract.LabelClaimed, labelTrue,
			d.Pod.Namespace, s.claimName, contract.LabelClaimed, labelTrue)
	case s.volume.PersistentVolumeClaim != nil:
		return fmt.Sprintf("have the backup use the volume policies of ConfigMap %s "+
			"(--resource-policies-configmap %s), or add to its own an entry with conditions {pvcLabels: {%s: %q}} and "+
			"action {type: custom}", basePolicy, basePolicy, contract.LabelClaimed, labelTrue)
	case structural(s.volume) == ReasonDriverContent:
		return fmt.Sprintf("add to the backup's volume policies an entry with conditions {csi: {driver: %s}} and "+
			"action {type: skip}", s.volume.CSI.Driver)
	case s.volume.CSI != nil:
		return fmt.Sprintf("add to the backup's volume policies an entry with conditions {csi: {driver: %s}} and %s",
			s.volume.CSI.Driver, custom)
	}
	kind := volumepolicy.Volume{PodVolume: s.volume}.Type()
	return fmt.Sprintf("have the backup use the volume policies of ConfigMap %s "+
		"(--resource-policies-configmap %s), or add to its own an entry with conditions {volumeTypes: [%s]} and %s",
		basePolicy, basePolicy, kind, custom)
}

// misnamed returns the decisions about annotations that name what is not there.
func (d *decider) misnamed() []Decision {
	var decisions []Decision
	for _, name := range d.named {
		if !d.hasVolume(name) {
			decisions = append(decisions, d.unknown(name, contract.AnnotationVolumesToBackup, HowAnnotation))
		}
	}
	for _, name := range d.excluded {
		if d.DefaultVolumes && !d.hasVolume(name) && !slices.Contains(d.named, name) {
			decisions = append(decisions, d.unknown(name, contract.AnnotationVolumesToExclude, ""))
		}
	}
	_, annotated := d.Pod.Annotations[contract.AnnotationVolumesToBackup]
	if annotated && len(d.named) == 0 && !d.DefaultVolumes {
		decisions = append(decisions, Decision{
			Asked: true, How: HowAnnotation, Reason: ReasonEmptyAnnotation,
			Message: fmt.Sprintf("pod %s/%s: annotation %s names no volume, so none is backed up for its sake: list "+
				"names of the pod's volumes with commas between, or remove it",
				d.Pod.Namespace, d.Pod.Name, contract.AnnotationVolumesToBackup),
		})
	}
	return decisions
}

func (d *decider) unknown(name, annotation string, how How) Decision {
	return Decision{
		Volume: name, Asked: how != "", How: how, Reason: ReasonUnknownVolume,
		Message: fmt.Sprintf("pod %s/%s has no volume %s, which its annotation %s names: correct the name or "+
			"remove it", d.Pod.Namespace, d.Pod.Name, name, annotation),
	}
}

func (d *decider) hasVolume(name string) bool {
	return slices.ContainsFunc(d.Pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
}
