// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package annotate

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumepolicy"
)

// namedByRules returns the value of the annotation that the rules want; empty for none. A volume that can never be
// backed up is not named. One that cannot be now is: the pod may run, and its claim be bound, when a backup comes.
func namedByRules(in selection.Input) string {
	if system := in.Pod.Spec.OS; system != nil && system.Name == corev1.Windows {
		return ""
	}
	var names []string
	decisions := selection.Decide(in)
	for i := range in.Pod.Spec.Volumes {
		volume := &in.Pod.Spec.Volumes[i]
		if decisions[i].How == selection.HowRule && eligibleLater(decisions[i].Reason) &&
			isMounted(in.Pod, volume.Name) && isLeftToPlugin(volume) {
			names = append(names, volume.Name)
		}
	}
	return strings.Join(names, ",") // without spaces: Velero's core takes them for a part of the name
}

// eligibleLater says whether restic may take a volume at another time, by the reason against it now: what it cannot
// read, or is not to have, it never does.
func eligibleLater(reason selection.Reason) bool {
	switch reason {
	case selection.ReasonHostPath, selection.ReasonBlockVolume, selection.ReasonImageVolume,
		selection.ReasonDriverContent, selection.ReasonStaticPod, selection.ReasonExcluded:
		return false
	default:
		return true
	}
}

// isMounted says whether a container mounts the volume, an init container as well. Selection says so only of a pod that
// runs, and this one may not yet.
func isMounted(pod *corev1.Pod, volume string) bool {
	is := func(mount corev1.VolumeMount) bool { return mount.Name == volume }
	by := func(c corev1.Container) bool { return slices.ContainsFunc(c.VolumeMounts, is) }
	return slices.ContainsFunc(pod.Spec.Containers, by) || slices.ContainsFunc(pod.Spec.InitContainers, by) ||
		slices.ContainsFunc(pod.Spec.EphemeralContainers, func(c corev1.EphemeralContainer) bool {
			return slices.ContainsFunc(c.VolumeMounts, is)
		})
}

// isLeftToPlugin says whether Velero's core leaves a volume that is named to this project where a backup has the base
// volume policy. Any other it would back up with its node-agent and, without that, leave the whole pod out: what rules
// include of those the plugin takes all the same.
func isLeftToPlugin(volume *corev1.Volume) bool {
	return volume.PersistentVolumeClaim != nil ||
		slices.Contains(contract.BasePolicyTypes(), volumepolicy.Volume{PodVolume: volume}.Type())
}
