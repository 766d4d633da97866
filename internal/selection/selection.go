// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package selection decides which volumes of a pod are backed up with restic, and says why the others are not. The
// plugin, the metrics of what is covered and the CLI all ask it, so that they cannot disagree. It makes no calls.
//
// A volume is asked for by a volume policy with the action custom and the parameter uploader: restic; or by the pod's
// annotation backup.velero.io/backup-volumes; or by a rule (package volumerule) with the action include; or, in a
// backup with defaultVolumesToFsBackup, by nothing that says otherwise. The former go before the latter: a policy
// before what a person has written on the pod, that before a rule, and a rule before the default. So the annotation
// backup.velero.io/backup-volumes-excludes leaves a volume out that a rule includes, and a rule with the action
// exclude only what nobody names. What is asked for and not taken has a reason.
//
// Velero's core reads the same annotations. It leaves a volume to this project only where a volume policy matches it,
// which for claims is done by a label: see ClaimsToLabel.
package selection

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumepolicy"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumerule"
)

// Input is everything that the decision depends on.
type Input struct {
	Pod *corev1.Pod
	// DefaultVolumes is spec.defaultVolumesToFsBackup of the Backup. As in Velero, the annotation that names volumes
	// to back up then selects nothing by itself, and otherwise the one that excludes them does not count.
	DefaultVolumes bool
	// Policies are the volume policies of the Backup; nil when it has none.
	Policies *volumepolicy.Policies
	// Rules select volumes that no annotation names; nil when there are none.
	Rules *volumerule.Rules
	// RulesInvalid says that there are rules which cannot be read. All else is decided as without any, and nothing is
	// undone that they may have asked for. See DependsOnRules.
	RulesInvalid bool
	// Claims are the claims of the pod's volumes, by name in the pod's namespace. Generic ephemeral volumes have
	// claims too: see ClaimName.
	Claims map[string]*corev1.PersistentVolumeClaim
	// Volumes are the PersistentVolumes to which those claims are bound, by name.
	Volumes map[string]*corev1.PersistentVolume
	// NodeAgent says that Velero's own node-agent runs on the pod's node.
	NodeAgent bool
	// NodeOS is the label kubernetes.io/os of the pod's node; empty when it is not known.
	NodeOS string
	// ClaimsExcluded says that the Backup leaves PersistentVolumeClaims out. Their data is left out then too, as
	// Velero does it.
	ClaimsExcluded bool
	// AssumeClaimed decides as if the claims of ClaimsToLabel carried their label already.
	AssumeClaimed bool
}

// How says by what a volume was asked for.
type How string

// The ways, the stronger first. The empty How means that nobody asked.
const (
	// HowPolicy is a volume policy with action custom and parameters {uploader: restic}.
	HowPolicy How = "policy"
	// HowAnnotation is the pod's annotation.
	HowAnnotation How = "annotation"
	// HowRule is a rule, or the pod's annotation as the leader has written it for the sake of a rule.
	HowRule How = "rule"
	// HowDefault is spec.defaultVolumesToFsBackup of the Backup.
	HowDefault How = "default"
)

// Decision is what becomes of one volume.
type Decision struct {
	// Volume is the name in the pod's spec or, with ReasonUnknownVolume, in the annotation. It is empty with
	// ReasonEmptyAnnotation.
	Volume string
	// Asked says that the volume was asked for, and How by what.
	Asked bool
	How   How
	// Rule is the name of the rule that the volume meets, if that is what decided. It is empty with HowRule when the
	// rule that the annotation was written for is no longer there.
	Rule string
	// Take says that the volume is to be backed up. Reason and Message are empty then.
	Take bool
	// Claim is the claim behind the volume and PV what it is bound to, as far as the input has them. Both are set for
	// generic ephemeral volumes too.
	Claim *corev1.PersistentVolumeClaim
	PV    *corev1.PersistentVolume
	// Reason is why the volume is not taken, for machines.
	Reason Reason
	// Message says it for people: it names the pod, the volume, and what to do where there is something to do.
	Message string
	// LeftToVelero says that Velero's core backs the volume up itself, by snapshot or by its node-agent.
	LeftToVelero bool
	// CostsPod says that Velero's core leaves the whole pod out of the backup for the sake of this volume.
	CostsPod bool
}

// Severity returns how much a decision matters: info for volumes that are taken or that nobody asked for; error where
// Velero leaves the whole pod out of the backup; warning for the rest. A volume that only a rule or the default asks
// for is worth no more than info where a policy or the claim's label decides otherwise, where its data is elsewhere,
// where the pod is static, and where it has no claim and is not mounted anyway.
func (d Decision) Severity() Severity {
	switch {
	case d.CostsPod:
		return SeverityError
	case d.Reason == ReasonLeftToVelero:
		return SeverityWarning
	case d.Take || !d.Asked:
		return SeverityInfo
	case d.How != HowDefault && d.How != HowRule:
		return SeverityWarning
	}
	switch d.Reason {
	case ReasonPolicy, ReasonOtherUploader, ReasonClaimsExcluded, ReasonExcluded, ReasonImageVolume,
		ReasonDriverContent, ReasonStaticPod:
		return SeverityInfo
	case ReasonNotMounted, ReasonPodNotRunning, ReasonNoNode:
		if d.Claim == nil {
			return SeverityInfo
		}
	default: // the rest is worth a warning
	}
	return SeverityWarning
}

// Decide returns a decision for each volume of the pod, in the order of its spec, then one for each name in the
// annotation that the pod lacks, in the order of the annotation, then one for an annotation without any name.
func Decide(in Input) []Decision {
	d := newDecider(in)
	var decisions []Decision
	for i := range in.Pod.Spec.Volumes {
		decisions = append(decisions, d.decide(d.subject(&in.Pod.Spec.Volumes[i])))
	}
	return append(decisions, d.misnamed()...)
}

// Takes says whether a backup has the data of a claim, by the decisions about one pod: its volume is taken, and the pod
// itself is in the backup, without which nobody would know what was.
func Takes(decisions []Decision, claim string) bool {
	if slices.ContainsFunc(decisions, func(d Decision) bool { return d.CostsPod }) {
		return false
	}
	return slices.ContainsFunc(decisions, func(d Decision) bool {
		return d.Take && d.Claim != nil && d.Claim.Name == claim
	})
}

// ClaimsToLabel returns the claims of the pod that must carry contract.LabelClaimed for Velero's core to leave them
// to this project, whether they do already or not, in the order of the pod's volumes. These are the claims that are
// asked for, which no policy leaves out or gives to somebody else, and which a policy matches by the label. They
// include claims that core would take if it could and that cannot be taken, and those that a rule excludes and core
// would take by default: without its node-agent, core would leave the whole pod out for their sake. What only a rule
// asks for, and restic cannot take, is not among them: core may still make a snapshot of it.
func ClaimsToLabel(in Input) []*corev1.PersistentVolumeClaim {
	claims, _ := partitionClaims(in)
	return claims
}

// ClaimsToRelease returns the claims of the pod that carry contract.LabelClaimed and need not for this pod. Another
// pod that shares a claim may still need it: the caller has to ask for each of them before it takes the label off.
// A claim that rules may ask for, which cannot be read, is not among them.
func ClaimsToRelease(in Input) []*corev1.PersistentVolumeClaim {
	_, claims := partitionClaims(in)
	return claims
}

// DependsOnRules says whether rules, if there were any, would decide about a volume of the pod: one that Velero does
// not pass over, and about which neither a policy nor a person says anything.
func DependsOnRules(in Input) bool {
	d := newDecider(in)
	return slices.ContainsFunc(in.Pod.Spec.Volumes, func(volume corev1.Volume) bool {
		return d.dependsOnRules(d.subject(&volume))
	})
}

func partitionClaims(in Input) (label, release []*corev1.PersistentVolumeClaim) {
	d := newDecider(in)
	var keep []*corev1.PersistentVolumeClaim
	for i := range in.Pod.Spec.Volumes {
		s := d.subject(&in.Pod.Spec.Volumes[i])
		if s.needsLabel && !slices.Contains(label, s.claim) {
			label = append(label, s.claim)
		}
		if in.RulesInvalid && d.dependsOnRules(s) {
			keep = append(keep, s.claim)
		}
	}
	for i := range in.Pod.Spec.Volumes {
		claim := in.Claims[ClaimName(in.Pod, &in.Pod.Spec.Volumes[i])]
		if claim == nil || slices.Contains(label, claim) || slices.Contains(keep, claim) ||
			slices.Contains(release, claim) {
			continue
		}
		if _, labeled := claim.Labels[contract.LabelClaimed]; labeled {
			release = append(release, claim)
		}
	}
	return label, release
}

// ClaimName returns the name of the claim behind a volume of the pod, empty for a volume without one. The claim of a
// generic ephemeral volume is named after pod and volume (Kubernetes: ephemeral volume controller).
func ClaimName(pod *corev1.Pod, volume *corev1.Volume) string {
	switch {
	case volume.PersistentVolumeClaim != nil:
		return volume.PersistentVolumeClaim.ClaimName
	case volume.Ephemeral != nil:
		return pod.Name + "-" + volume.Name
	}
	return ""
}

// ClaimNames returns the names of the claims behind the volumes of a pod, in the order of the volumes; one that stands
// behind several is there as often.
func ClaimNames(pod *corev1.Pod) []string {
	var names []string
	for i := range pod.Spec.Volumes {
		if name := ClaimName(pod, &pod.Spec.Volumes[i]); name != "" {
			names = append(names, name)
		}
	}
	return names
}
