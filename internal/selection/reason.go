// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package selection

// Severity is how much a decision matters.
type Severity string

// The severities.
const (
	SeverityInfo    Severity = "info"
	SeverityWarning Severity = "warning"
	SeverityError   Severity = "error"
)

// Reason is why a volume is not taken. The list is closed: it is part of custom resources, metrics and output.
type Reason string

// The reasons.
const (
	// ReasonNotAsked: no annotation, rule, default or policy asks for the volume.
	ReasonNotAsked Reason = "NotAsked"
	// ReasonRulesInvalid: nothing but rules may ask for the volume, and they cannot be read.
	ReasonRulesInvalid Reason = "RulesInvalid"
	// ReasonExcluded: the annotation backup.velero.io/backup-volumes-excludes names the volume, a rule excludes it, or
	// label velero.io/exclude-from-backup does that is on its claim.
	ReasonExcluded Reason = "Excluded"
	// ReasonEmptyAnnotation: the annotation backup.velero.io/backup-volumes is there and names no volume.
	ReasonEmptyAnnotation Reason = "EmptyAnnotation"
	// ReasonUnknownVolume: the annotation names a volume that the pod does not have.
	ReasonUnknownVolume Reason = "UnknownVolume"
	// ReasonPolicy: a volume policy says skip or snapshot, which goes before annotations and defaults.
	ReasonPolicy Reason = "Policy"
	// ReasonOtherUploader: a volume policy with action custom names another plugin's uploader.
	ReasonOtherUploader Reason = "OtherUploader"
	// ReasonLeftToVelero: Velero's core backs the volume up with its node-agent, since no policy tells it not to.
	ReasonLeftToVelero Reason = "LeftToVelero"
	// ReasonNoPolicy: Velero's core tries to back the volume up itself, and has no node-agent on the node: it leaves
	// the whole pod out of the backup.
	ReasonNoPolicy Reason = "NoPolicy"
	// ReasonHostPath: a directory of the node, which the kubelet does not mount where the agent can see it.
	ReasonHostPath Reason = "HostPath"
	// ReasonBlockVolume: a device without a file system.
	ReasonBlockVolume Reason = "BlockVolume"
	// ReasonAPIContent: the content comes from the API: secret, configMap, projected, downwardAPI.
	ReasonAPIContent Reason = "APIContent"
	// ReasonServiceAccountToken: a service account's token, told by the volume's name.
	ReasonServiceAccountToken Reason = "ServiceAccountToken"
	// ReasonImageVolume: the content of an image, which its registry holds.
	ReasonImageVolume Reason = "ImageVolume"
	// ReasonDriverContent: an inline CSI volume for reading only, such as those with secrets and certificates. Its
	// driver fills it, and refuses one that could be written to.
	ReasonDriverContent Reason = "DriverContent"
	// ReasonNotMounted: no container of the pod mounts the volume, so that the kubelet does not either.
	ReasonNotMounted Reason = "NotMounted"
	// ReasonPodNotRunning: the pod's phase is not Running, so that its volumes need not be mounted.
	ReasonPodNotRunning Reason = "PodNotRunning"
	// ReasonNoNode: the pod runs on no node.
	ReasonNoNode Reason = "NoNode"
	// ReasonStaticPod: the kubelet runs the pod from a file, and the API server has only its mirror.
	ReasonStaticPod Reason = "StaticPod"
	// ReasonWindows: the pod runs on Windows, where there is no agent.
	ReasonWindows Reason = "Windows"
	// ReasonClaimsExcluded: the backup leaves out PersistentVolumeClaims.
	ReasonClaimsExcluded Reason = "ClaimsExcluded"
	// ReasonClaimNotFound: the claim does not exist.
	ReasonClaimNotFound Reason = "ClaimNotFound"
	// ReasonClaimNotBound: the claim is bound to no volume.
	ReasonClaimNotBound Reason = "ClaimNotBound"
	// ReasonVolumeNotFound: the PersistentVolume to which the claim is bound does not exist.
	ReasonVolumeNotFound Reason = "VolumeNotFound"
)
