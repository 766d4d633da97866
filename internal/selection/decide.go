// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package selection

import (
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumepolicy"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumerule"
)

// refusal is why a volume is not taken. The zero one is none.
type refusal struct {
	reason       Reason
	message      string
	leftToVelero bool
	costsPod     bool
}

func refuse(reason Reason, format string, args ...any) refusal {
	return refusal{reason: reason, message: fmt.Sprintf(format, args...)}
}

func (d *decider) decide(s subject) Decision {
	decision := Decision{Volume: s.volume.Name, Asked: s.how != "", How: s.how, Claim: s.claim, PV: s.pv}
	if s.how == HowRule || s.how == "" {
		decision.Rule = s.rule
	}
	refusal := d.refusal(s)
	decision.Take = refusal.reason == ""
	decision.Reason, decision.Message = refusal.reason, refusal.message
	decision.LeftToVelero, decision.CostsPod = refusal.leftToVelero, refusal.costsPod
	return decision
}

// refusal returns the first reason against the volume. What costs the whole pod comes first, then what never
// changes, then what may.
func (d *decider) refusal(s subject) refusal {
	if r := d.checkCoreFails(s); r.reason != "" {
		return r
	}
	if s.how == "" {
		return d.notAsked(s)
	}
	return first(s, d.checkNoPolicy, d.checkKind, d.checkWish, d.checkExcluded, d.checkClaim, d.checkPod,
		d.checkMounted, d.checkCorePasses, d.checkLeftToVelero)
}

// first returns what the first of the checks says that says anything.
func first(s subject, checks ...func(subject) refusal) refusal {
	for _, check := range checks {
		if r := check(s); r.reason != "" {
			return r
		}
	}
	return refusal{}
}

// unable says why restic could not take the volume of a claim, whoever asked for it. With nothing behind the claim
// there is no snapshot to be had either.
func (d *decider) unable(s subject) refusal {
	return first(s, d.checkKind, d.checkExcluded, d.checkPod, d.checkMounted)
}

func (d *decider) notAsked(s subject) refusal {
	if !s.core.found && d.coreTakes(s) {
		if r := d.excludedForUsOnly(s); r.reason != "" {
			return r
		}
	}
	if r := first(s, d.checkNoPolicy, d.checkCorePasses); r.reason != "" {
		return r
	}
	r := d.leftOut(s)
	r.leftToVelero = d.coreTakes(s) && d.notRunning() == "" ||
		s.claimName != "" && s.core.is(volumepolicy.ActionSnapshot)
	return r
}

// leftOut says why nothing asks for the volume.
func (d *decider) leftOut(s subject) refusal {
	reason := structural(s.volume)
	switch {
	case d.excludedByPerson(s):
		return refuse(ReasonExcluded, "%s: annotation %s leaves it out", d.name(s), contract.AnnotationVolumesToExclude)
	case d.DefaultVolumes && reason != "":
		return refuse(reason, "%s: %s", d.name(s), kindText(reason))
	case s.ruledOut() && s.needsLabel:
		return refuse(ReasonExcluded, "%s: rule %q leaves it out, and no snapshot is made of it either: to have one, "+
			"give the backup a volume policy that matches it with action snapshot", d.name(s), s.rule)
	case s.ruledOut():
		return refuse(ReasonExcluded, "%s: rule %q leaves it out", d.name(s), s.rule)
	case d.RulesInvalid && d.dependsOnRules(s):
		return refuse(ReasonRulesInvalid, "%s: nothing but rules may ask for its backup, and they cannot be read: "+
			"correct their ConfigMap", d.name(s))
	case s.action == volumerule.Pass:
		return refuse(ReasonNotAsked, "%s: nothing asks for its backup, and %s of the rules passes it over", d.name(s),
			s.rule)
	}
	return refuse(ReasonNotAsked, "%s: nothing asks for its backup", d.name(s))
}

// checkExcluded lets label velero.io/exclude-from-backup on a claim leave its data out, too, unless somebody has asked
// for this very volume.
func (d *decider) checkExcluded(s subject) refusal {
	if s.how == HowAnnotation || s.how == HowPolicy || s.volume.PersistentVolumeClaim == nil || s.claim == nil ||
		s.claim.Labels[contract.LabelExcludeFromBackup] != "true" {
		return refusal{}
	}
	return refuse(ReasonExcluded, "%s: label %s of the claim leaves it out: take the label off, or name the volume in "+
		"the pod's annotation %s", d.name(s), contract.LabelExcludeFromBackup, contract.AnnotationVolumesToBackup)
}

func (d *decider) checkKind(s subject) refusal {
	if reason := structural(s.volume); reason != "" {
		return refuse(reason, "%s cannot be backed up: %s", d.name(s), kindText(reason))
	}
	if s.pv != nil && s.pv.Spec.HostPath != nil {
		return refuse(ReasonHostPath, "%s cannot be backed up: PersistentVolume %s is a hostPath volume, which the "+
			"kubelet does not mount where the agent can see it: use a volume of type local instead",
			d.name(s), s.pv.Name)
	}
	if isBlock(s) || d.attached(s.volume.Name) {
		return refuse(ReasonBlockVolume, "%s cannot be backed up: it is a block volume, and restic reads files: "+
			"back it up with snapshots, by a volume policy with action snapshot", d.name(s))
	}
	return refusal{}
}

func kindText(reason Reason) string {
	switch reason {
	case ReasonHostPath:
		return "it is a hostPath volume, which the kubelet does not mount where the agent can see it: " +
			"use a volume of type local through a claim instead"
	case ReasonAPIContent:
		return "its content comes from the API, where Velero backs it up"
	case ReasonImageVolume:
		return "its content is that of an image, which the registry holds"
	case ReasonDriverContent:
		return "its content comes from its CSI driver, which mounts it for reading only"
	case ReasonServiceAccountToken:
		return "volumes with a name that starts with default-token hold the token of a service account: " +
			"if this one does not, give it another name"
	default:
		return string(reason)
	}
}

func isBlock(s subject) bool {
	block := func(mode *corev1.PersistentVolumeMode) bool {
		return mode != nil && *mode == corev1.PersistentVolumeBlock
	}
	return s.claim != nil && block(s.claim.Spec.VolumeMode) || s.pv != nil && block(s.pv.Spec.VolumeMode)
}

// checkWish lets a policy go before annotations and defaults, as Velero does.
func (d *decider) checkWish(s subject) refusal {
	switch {
	case s.wish.is(volumepolicy.ActionSkip):
		return refuse(ReasonPolicy, "%s is left out: the backup's volume policies match it with action skip", d.name(s))
	case s.wish.is(volumepolicy.ActionSnapshot):
		r := refuse(ReasonPolicy, "%s is left to snapshots: the backup's volume policies match it with action "+
			"snapshot; to have restic take it, give it an entry before that one with action custom and parameters "+
			"{uploader: restic}", d.name(s))
		r.leftToVelero = s.core.is(volumepolicy.ActionSnapshot)
		return r
	case s.wish.forOther():
		uploader, _ := s.wish.Uploader()
		return refuse(ReasonOtherUploader, "%s is left to another plugin: the backup's volume policies match it with "+
			"action custom and parameter uploader: %v; this plugin answers to uploader: restic", d.name(s), uploader)
	}
	return refusal{}
}

func (d *decider) checkClaim(s subject) refusal {
	switch {
	case s.claimName == "":
		return refusal{}
	case d.ClaimsExcluded && s.volume.PersistentVolumeClaim != nil:
		return refuse(ReasonClaimsExcluded, "%s is left out: the backup excludes PersistentVolumeClaims, and the data "+
			"goes with its claim: include persistentvolumeclaims in the backup", d.name(s))
	case s.claim == nil:
		return refuse(ReasonClaimNotFound, "%s cannot be backed up: its claim does not exist", d.name(s))
	case s.claim.Status.Phase != corev1.ClaimBound || s.claim.Spec.VolumeName == "":
		return refuse(ReasonClaimNotBound, "%s cannot be backed up: its claim is bound to no volume (phase %s): "+
			"see `kubectl -n %s describe pvc %s`",
			d.name(s), cmp.Or(s.claim.Status.Phase, "Unknown"), d.Pod.Namespace, s.claimName)
	case s.pv == nil:
		return refuse(ReasonVolumeNotFound, "%s cannot be backed up: PersistentVolume %s, to which its claim is "+
			"bound, does not exist", d.name(s), s.claim.Spec.VolumeName)
	}
	return refusal{}
}

func (d *decider) checkPod(s subject) refusal {
	if _, mirror := d.Pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return refuse(ReasonStaticPod, "%s cannot be backed up: the kubelet of node %s runs the pod from a file, and "+
			"mounts its volumes where the API server does not say; nor does Velero restore such pods",
			d.name(s), d.Pod.Spec.NodeName)
	}
	if why := d.notRunning(); why != "" {
		reason := ReasonPodNotRunning
		if d.Pod.Status.Phase == corev1.PodRunning && d.Pod.Spec.NodeName == "" {
			reason = ReasonNoNode
		}
		return refuse(reason, "%s cannot be backed up: %s: back it up while the pod runs, or through "+
			"another pod that mounts the volume", d.name(s), why)
	}
	system := d.Pod.Spec.OS
	if d.NodeOS == string(corev1.Windows) || system != nil && system.Name == corev1.Windows {
		return refuse(ReasonWindows, "%s cannot be backed up: node %s runs Windows, and the agent runs on Linux only: "+
			"back it up with snapshots", d.name(s), d.Pod.Spec.NodeName)
	}
	return refusal{}
}

// notRunning says why the pod's volumes cannot be relied on to be mounted, by the test of Velero's core
// (velero v1.18.3, pkg/util/kube/pod.go, IsPodRunning); empty when they can.
func (d *decider) notRunning() string {
	switch phase := d.Pod.Status.Phase; {
	case phase != corev1.PodRunning:
		return fmt.Sprintf("the pod is not running (phase %s)", cmp.Or(phase, "Unknown"))
	case d.Pod.Spec.NodeName == "":
		return "the pod is on no node (spec.nodeName is empty)"
	case d.Pod.DeletionTimestamp != nil:
		return "the pod is being deleted"
	}
	return ""
}

// checkMounted looks at init containers too: the kubelet mounts what they name for as long as the pod lives.
func (d *decider) checkMounted(s subject) refusal { return d.checkMountedIn(s, d.containers()) }

func (d *decider) checkMountedIn(s subject, containers []corev1.Container) refusal {
	for _, c := range containers {
		for _, mount := range c.VolumeMounts {
			if mount.Name == s.volume.Name {
				return refusal{}
			}
		}
	}
	return refuse(ReasonNotMounted, "%s cannot be backed up: no container mounts it, so it is not on the node: "+
		"mount it, or back it up through another pod that does", d.name(s))
}

// attached says whether a container uses the volume as a device.
func (d *decider) attached(volume string) bool {
	for _, c := range d.containers() {
		for _, device := range c.VolumeDevices {
			if device.Name == volume {
				return true
			}
		}
	}
	return false
}

func (d *decider) containers() []corev1.Container {
	containers := slices.Concat(d.Pod.Spec.InitContainers, d.Pod.Spec.Containers)
	for _, c := range d.Pod.Spec.EphemeralContainers {
		containers = append(containers, corev1.Container(c.EphemeralContainerCommon))
	}
	return containers
}
