// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package selection

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumepolicy"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumerule"
)

// labelTrue is the value of contract.LabelClaimed.
const labelTrue = "true"

// decider holds what is the same for all volumes of the pod.
type decider struct {
	Input
	named, excluded []string
	// byRule says that the leader has written what is named, and no person.
	byRule bool
}

func newDecider(in Input) *decider {
	annotations := in.Pod.Annotations
	value := annotations[contract.AnnotationVolumesToBackup]
	return &decider{
		Input:    in,
		named:    VolumeNames(value),
		excluded: VolumeNames(annotations[contract.AnnotationVolumesToExclude]),
		byRule:   value != "" && value == annotations[contract.AnnotationVolumesByRule],
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
	// rule is the rule that the volume meets; empty where something stronger than rules decides.
	rule   string
	action volumerule.Action
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
	if d.forRules(s) {
		s.rule, s.action, _ = d.Rules.Match(volumerule.Volume{Pod: d.Pod, Volume: volume, Claim: s.claim, PV: s.pv})
	}
	s.how = d.how(s)
	s.needsLabel = d.needsLabel(s)
	if s.needsLabel && d.AssumeClaimed {
		s.core = d.matchPod(s, Labeled(s.claim))
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

// forRules says whether rules may have a say: no policy asks for the volume, nobody has named or excluded it on the
// pod, and Velero does not pass it over.
func (d *decider) forRules(s subject) bool {
	return !s.wish.ForRestic() && !d.namedByPerson(s) && !d.excludedByPerson(s) && !coreIgnores(s.volume)
}

// dependsOnRules says whether rules would decide, if there were any.
func (d *decider) dependsOnRules(s subject) bool { return d.forRules(s) && !s.wish.refuses() }

func (d *decider) namedByPerson(s subject) bool {
	return !d.byRule && slices.Contains(d.named, s.volume.Name)
}

func (d *decider) excludedByPerson(s subject) bool { return slices.Contains(d.excluded, s.volume.Name) }

// ruledOut says whether a rule leaves the volume out.
func (s subject) ruledOut() bool { return s.action == volumerule.Exclude }

// how returns by what the volume is asked for. Where both annotations name it, that which Velero reads holds: the one
// that excludes where the backup takes all volumes by default, else the other.
func (d *decider) how(s subject) How {
	switch {
	case s.wish.ForRestic():
		return HowPolicy
	case d.namedByPerson(s) && (!d.DefaultVolumes || !d.excludedByPerson(s)):
		return HowAnnotation
	case d.excludedByPerson(s), s.ruledOut(), coreIgnores(s.volume):
		return ""
	case s.action == volumerule.Include, d.byRule && slices.Contains(d.named, s.volume.Name):
		return HowRule
	case d.DefaultVolumes:
		return HowDefault
	}
	return ""
}

// needsLabel says whether the label is what keeps core from the claim: one that is asked for, or one that nobody is to
// have and that core would take all the same.
func (d *decider) needsLabel(s subject) bool {
	if s.claim == nil || s.how == "" && !d.coreMistakes(s) || s.wish.refuses() || d.ClaimsExcluded {
		return false
	}
	if s.how == HowRule && !d.coreAsked(s.volume.Name) && d.unable(s).reason != "" {
		return false
	}
	return !d.matchClaim(s, withoutLabel(s.claim)).is(volumepolicy.ActionCustom) &&
		d.matchClaim(s, Labeled(s.claim)).is(volumepolicy.ActionCustom)
}

// labeled says whether the claim carries our label.
func labeled(claim *corev1.PersistentVolumeClaim) bool {
	return claim != nil && claim.Labels[contract.LabelClaimed] == labelTrue
}

// Labeled returns the claim as it is once the plugin has put contract.LabelClaimed on it.
func Labeled(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	if claim == nil || labeled(claim) {
		return claim
	}
	other := *claim
	other.Labels = map[string]string{}
	maps.Copy(other.Labels, claim.Labels)
	other.Labels[contract.LabelClaimed] = labelTrue
	return &other
}

func withoutLabel(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
	if claim == nil || !labeled(claim) {
		return claim
	}
	other := *claim
	other.Labels = maps.Clone(claim.Labels)
	delete(other.Labels, contract.LabelClaimed)
	return &other
}

// FilledByDriver says that a volume is an inline CSI volume for reading only. Drivers of secrets and certificates fill
// such volumes, and refuse to mount them for writing, without which nothing can be restored.
func FilledByDriver(v *corev1.Volume) bool { return v.CSI != nil && ptr.Deref(v.CSI.ReadOnly, false) }

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
	case FilledByDriver(v):
		return ReasonDriverContent
	case strings.HasPrefix(v.Name, "default-token"):
		return ReasonServiceAccountToken
	}
	return ""
}
