// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package selection

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumepolicy"
)

// labelTrue is the value of contract.LabelClaimed.
const labelTrue = "true"

// decider holds what is the same for all volumes of the pod.
type decider struct {
	Input
	named, excluded []string
}

func newDecider(in Input) *decider {
	return &decider{
		Input:    in,
		named:    VolumeNames(in.Pod.Annotations[contract.AnnotationVolumesToBackup]),
		excluded: VolumeNames(in.Pod.Annotations[contract.AnnotationVolumesToExclude]),
	}
}

// match is the outcome of volume policies for a volume.
type match struct {
	volumepolicy.Action
	found bool
}

func (m match) is(action volumepolicy.ActionType) bool { return m.found && m.Type == action }

// forOther says whether the action names another plugin.
func (m match) forOther() bool {
	_, named := m.Uploader()
	return m.found && named && !m.ForRestic()
}

// refuses says whether the action leaves the volume to nobody or to somebody else, whatever annotations say.
func (m match) refuses() bool {
	return m.is(volumepolicy.ActionSkip) || m.is(volumepolicy.ActionSnapshot) || m.forOther()
}

// subject is one volume with all that the decision about it looks at.
type subject struct {
	volume    *corev1.Volume
	claimName string // empty for a volume that has none
	claim     *corev1.PersistentVolumeClaim
	pv        *corev1.PersistentVolume
	how       How
	// wish is the policy that holds as if the claim did not carry our label. The label tells core to stand aside and
	// nothing else: it must not hide what the operator wants, be it skip, snapshot or our own uploader.
	wish match
	// core is the policy that core finds for the volume when it looks at the pod.
	core match
	// needsLabel says that core stands aside with the label, and does not without it.
	needsLabel bool
}

func (d *decider) subject(volume *corev1.Volume) subject {
	s := subject{volume: volume, claimName: ClaimName(d.Pod, volume)}
	s.claim = d.Claims[s.claimName]
	if s.claim != nil && s.claim.Status.Phase == corev1.ClaimBound {
		s.pv = d.Volumes[s.claim.Spec.VolumeName]
	}
	s.core = d.matchPod(s, s.claim)
	s.wish = d.wish(s)
	s.how = d.how(s)
	s.needsLabel = d.needsLabel(s)
	if s.needsLabel && d.AssumeClaimed {
		s.core = d.matchPod(s, withLabel(s.claim))
	}
	return s
}

// matchPod returns the policy that core finds for the volume of a pod. It does not look behind a generic ephemeral
// volume there (velero v1.18.3, internal/volumehelper/volume_policy_helper.go, ShouldPerformFSBackup).
func (d *decider) matchPod(s subject, claim *corev1.PersistentVolumeClaim) match {
	v := volumepolicy.Volume{PodVolume: s.volume}
	if s.volume.PersistentVolumeClaim != nil {
		v.PVC, v.PV = claim, s.pv
	}
	action, found := d.Policies.Match(v)
	return match{action, found}
}

// matchClaim returns the policy that core finds for the claim itself, when it decides on a snapshot of it
// (the same file, ShouldPerformSnapshot).
func (d *decider) matchClaim(s subject, claim *corev1.PersistentVolumeClaim) match {
	action, found := d.Policies.Match(volumepolicy.Volume{PVC: claim, PV: s.pv})
	return match{action, found}
}

// wish returns the policy that holds without our label. Where none of those for pods says anything about a generic
// ephemeral volume, the one for its claim does.
func (d *decider) wish(s subject) match {
	if s.core.ForRestic() {
		return s.core
	}
	wish := d.matchPod(s, withoutLabel(s.claim))
	standsAside := wish.is(volumepolicy.ActionCustom) && len(wish.Parameters) == 0
	if s.volume.Ephemeral != nil && s.claim != nil && (!wish.found || standsAside) {
		if behind := d.matchClaim(s, withoutLabel(s.claim)); behind.found {
			return behind
		}
	}
	return wish
}

// how returns by what the volume is asked for.
func (d *decider) how(s subject) How {
	named := slices.Contains(d.named, s.volume.Name)
	switch {
	case s.wish.ForRestic():
		return HowPolicy
	case !d.DefaultVolumes && named:
		return HowAnnotation
	case !d.DefaultVolumes || slices.Contains(d.excluded, s.volume.Name):
		return ""
	case named:
		return HowAnnotation
	case coreIgnores(s.volume):
		return ""
	}
	return HowDefault
}

func (d *decider) needsLabel(s subject) bool {
	if s.claim == nil || s.how == "" || s.wish.refuses() || d.ClaimsExcluded {
		return false
	}
	return !d.matchClaim(s, withoutLabel(s.claim)).is(volumepolicy.ActionCustom) &&
		d.matchClaim(s, withLabel(s.claim)).is(volumepolicy.ActionCustom)
}

// labelled says whether the claim carries our label.
func labelled(claim *corev1.PersistentVolumeClaim) bool {
	return claim != nil && claim.Labels[contract.LabelClaimed] == labelTrue
}

func withLabel(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	if claim == nil || labelled(claim) {
		return claim
	}
	other := *claim
	other.Labels = map[string]string{}
	maps.Copy(other.Labels, claim.Labels)
	other.Labels[contract.LabelClaimed] = labelTrue
	return &other
}

func withoutLabel(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	if claim == nil || !labelled(claim) {
		return claim
	}
	other := *claim
	other.Labels = maps.Clone(claim.Labels)
	delete(other.Labels, contract.LabelClaimed)
	return &other
}

// coreTakes says whether Velero's core tries to back the volume up with its node-agent (ShouldPerformFSBackup as
// above). It reads the annotations without trimming their entries (pkg/util/podvolume/pod_volume.go).
func (d *decider) coreTakes(s subject) bool {
	switch {
	case coreIgnores(s.volume), s.volume.PersistentVolumeClaim != nil && d.ClaimsExcluded:
		return false
	case s.core.found:
		return s.core.is(volumepolicy.ActionFSBackup)
	case d.DefaultVolumes:
		excluded := strings.Split(d.Pod.Annotations[contract.AnnotationVolumesToExclude], ",")
		return !slices.Contains(excluded, s.volume.Name)
	}
	return slices.Contains(strings.Split(d.Pod.Annotations[contract.AnnotationVolumesToBackup], ","), s.volume.Name)
}

// structural returns the reason why a volume of this kind is never taken, as far as the pod's spec alone tells;
// empty when it does not.
func structural(v *corev1.Volume) Reason {
	switch {
	case v.HostPath != nil:
		return ReasonHostPath
	case v.Secret != nil, v.ConfigMap != nil, v.Projected != nil, v.DownwardAPI != nil:
		return ReasonAPIContent
	case v.Image != nil:
		return ReasonImageVolume
	case strings.HasPrefix(v.Name, "default-token"):
		return ReasonServiceAccountToken
	}
	return ""
}

// coreIgnores says whether Velero's core passes volumes of this kind over in silence, named or not. It does not know
// image volumes (shouldIncludeVolumeInBackup, as above).
func coreIgnores(v *corev1.Volume) bool {
	reason := structural(v)
	return reason != "" && reason != ReasonImageVolume
}
