// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package selection

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumepolicy"
)

// coreTakes says whether Velero's core tries to back the volume up with its node-agent (velero v1.18.3,
// internal/volumehelper/volume_policy_helper.go, ShouldPerformFSBackup).
func (d *decider) coreTakes(s subject) bool {
	switch {
	case coreIgnores(s.volume), s.volume.PersistentVolumeClaim != nil && d.ClaimsExcluded:
		return false
	case s.core.found:
		return s.core.is(volumepolicy.ActionFSBackup)
	}
	return d.coreAsked(s.volume.Name)
}

// coreAsked says whether the annotation or the default asks core for the volume. It reads the annotations without
// trimming their entries (pkg/util/podvolume/pod_volume.go).
func (d *decider) coreAsked(volume string) bool {
	if d.DefaultVolumes {
		return !slices.Contains(strings.Split(d.Pod.Annotations[contract.AnnotationVolumesToExclude], ","), volume)
	}
	return slices.Contains(strings.Split(d.Pod.Annotations[contract.AnnotationVolumesToBackup], ","), volume)
}

// CoreAsks says whether the annotation or the default asks core for a volume of the pod, by its name.
func CoreAsks(in Input, volume string) bool { return (&decider{Input: in}).coreAsked(volume) }

// coreMistakes says whether core, which knows no rules, would take a volume that is left out: by a rule, or by a person
// where the leader has named it for the sake of one. A policy goes before both.
func (d *decider) coreMistakes(s subject) bool {
	leftOut := s.ruledOut() || d.byRule && !d.DefaultVolumes && d.excludedByPerson(s)
	return leftOut && d.coreAsked(s.volume.Name) && !d.matchPod(s, withoutLabel(s.claim)).found
}

// coreIgnores says whether Velero's core passes volumes of this kind over in silence, named or not. It does not know
// image volumes, and takes all inline CSI volumes alike (the same file, shouldIncludeVolumeInBackup).
func coreIgnores(v *corev1.Volume) bool {
	reason := structural(v)
	return reason != "" && reason != ReasonImageVolume && reason != ReasonDriverContent
}

// checkNoPolicy finds the volume for whose sake Velero's core leaves the whole pod out of the backup. Core asks for
// its node-agent only when the pod runs (velero v1.18.3, pkg/podvolume/backupper.go, BackupPodVolumes).
func (d *decider) checkNoPolicy(s subject) refusal {
	if d.NodeAgent || !d.coreTakes(s) || d.notRunning() != "" {
		return refusal{}
	}
	r := refuse(ReasonNoPolicy, "%s: Velero tries to back it up itself, and without its node-agent on node %s it "+
		"leaves the whole pod out of the backup: %s", d.name(s), d.Pod.Spec.NodeName, d.handOver(s))
	r.costsPod = true
	return r
}

// checkCoreFails finds the volume for whose sake Velero's core gives the pod up: where the backup has volume policies,
// it looks behind each claim, and what it does not find there is an error unless a policy says something of the claim
// (ShouldPerformFSBackup, as above). It does so for pods that do not run, too.
func (d *decider) checkCoreFails(s subject) refusal {
	if d.Policies == nil || s.volume.PersistentVolumeClaim == nil || coreIgnores(s.volume) || d.ClaimsExcluded ||
		s.claim != nil && (s.pv != nil || s.core.found) {
		return refusal{}
	}
	r := d.checkClaim(s)
	r.costsPod = true
	r.message += "; Velero leaves the whole pod out of the backup for its sake"
	if s.claim != nil && s.claim.Status.Phase != corev1.ClaimBound {
		r.message += ", unless the backup's volume policies have an entry for such claims: conditions {pvcPhase: " +
			"[Pending, Lost]} and action {type: custom}, as those of ConfigMap " + basePolicy
	}
	return r
}

// checkCorePasses says why Velero's core passes over a volume that is its own to take (velero v1.18.3,
// pkg/podvolume/backupper.go, BackupPodVolumes). It does not look at init containers.
func (d *decider) checkCorePasses(s subject) refusal {
	if !d.coreTakes(s) || d.notRunning() != "" {
		return refusal{}
	}
	return first(s, d.checkKind, func(s subject) refusal { return d.checkMountedIn(s, d.Pod.Spec.Containers) })
}

func (d *decider) checkLeftToVelero(s subject) refusal {
	if !d.coreTakes(s) {
		return refusal{}
	}
	r := refuse(ReasonLeftToVelero, "%s is left to Velero's node-agent, which backs it up itself; to have restic "+
		"take it: %s", d.name(s), d.handOver(s))
	r.leftToVelero = true
	return r
}

// excludedForUsOnly is about a volume that is left out and that Velero's core takes all the same: since it does not
// know rules, or by a name with space around it in the annotation that excludes volumes. What a rule leaves out in a
// pod that does not run costs nothing, as Velero backs no volume of it up.
func (d *decider) excludedForUsOnly(s subject) refusal {
	why := "since it takes spaces for a part of the name"
	remedy := fmt.Sprintf("write the names in annotation %s without space between them",
		contract.AnnotationVolumesToExclude)
	if s.ruledOut() || !d.DefaultVolumes {
		if d.notRunning() != "" {
			return refusal{}
		}
		why, remedy = d.mistake(s)
	}
	if d.NodeAgent || d.notRunning() != "" {
		r := refuse(ReasonLeftToVelero, "%s is excluded, and Velero's node-agent backs it up all the same, %s: %s",
			d.name(s), why, remedy)
		r.leftToVelero = true
		return r
	}
	r := refuse(ReasonNoPolicy, "%s is excluded, and Velero tries to back it up all the same, %s; without its "+
		"node-agent on node %s it leaves the whole pod out of the backup: %s",
		d.name(s), why, d.Pod.Spec.NodeName, remedy)
	r.costsPod = true
	return r
}

// mistake says why core takes a volume that is left out, and how it is told not to: see coreMistakes.
func (d *decider) mistake(s subject) (why, remedy string) {
	why = "since its annotation " + contract.AnnotationVolumesToBackup + " names it"
	remedy = "take the name out of that annotation"
	if d.DefaultVolumes {
		why = fmt.Sprintf("since it does not know rule %q", s.rule)
		remedy = "name it in the pod's annotation " + contract.AnnotationVolumesToExclude
	}
	return why, fmt.Sprintf("%s, or have the backup use the volume policies of ConfigMap %s, or add to its own an "+
		"entry that matches it with action skip", remedy, basePolicy)
}
