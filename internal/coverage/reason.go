// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
)

// Reason is why a claim is not protected. The list is complete: metrics and output use these values. It includes the
// reasons of package selection, which apply to the claim's volume.
type Reason string

// The reasons that package selection does not have.
const (
	// ReasonIgnored: the claim's annotation backup.velero.io/backup-excluded is "true".
	ReasonIgnored Reason = "Ignored"
	// ReasonNoSchedule: no active Schedule includes the claim, or a pod that uses it.
	ReasonNoSchedule Reason = "NoSchedule"
	// ReasonUnmounted: no pod uses the claim, and Velero creates no snapshot of it.
	ReasonUnmounted Reason = "Unmounted"
	// ReasonNoSnapshot: a volume policy requires a snapshot, and this volume does not support one.
	ReasonNoSnapshot Reason = "NoSnapshot"
	// ReasonNeverSucceeded: a Schedule includes the claim, and none of its backups has succeeded yet.
	ReasonNeverSucceeded Reason = "NeverSucceeded"
	// ReasonStale: the last success is older than two runs of the Schedule, or than the configured limit.
	ReasonStale Reason = "Stale"
	// ReasonLastFailed: the last backup of the claim failed.
	ReasonLastFailed Reason = "LastFailed"
	// ReasonLocationUnavailable: the storage location of the Schedule is not available, so its backups fail.
	ReasonLocationUnavailable Reason = "LocationUnavailable"
	// ReasonPolicyInvalid: the volume policies of the Schedule are invalid, so its backups fail.
	ReasonPolicyInvalid Reason = "PolicyInvalid"
)

// Reasons returns all reasons, the one closest to protection first. If several pods and Schedules give different
// reasons for a claim, the first one in this order counts.
func Reasons() []Reason {
	all := ordered()
	return all[:]
}

// ordered returns the same as Reasons without an allocation, because rank calls it for each candidate.
func ordered() [28]Reason {
	return [...]Reason{
		ReasonStale, ReasonLastFailed, ReasonNeverSucceeded,
		Reason(selection.ReasonLeftToVelero), Reason(selection.ReasonNoPolicy),
		Reason(selection.ReasonNoNode), Reason(selection.ReasonPodNotRunning), Reason(selection.ReasonNotMounted),
		Reason(selection.ReasonClaimNotBound), Reason(selection.ReasonVolumeNotFound),
		Reason(selection.ReasonClaimNotFound), ReasonLocationUnavailable, ReasonPolicyInvalid,
		Reason(selection.ReasonRulesInvalid), ReasonNoSnapshot,
		Reason(selection.ReasonStaticPod), Reason(selection.ReasonWindows), Reason(selection.ReasonBlockVolume),
		Reason(selection.ReasonHostPath),
		Reason(selection.ReasonOtherUploader), Reason(selection.ReasonPolicy), Reason(selection.ReasonExcluded),
		Reason(selection.ReasonClaimsExcluded), Reason(selection.ReasonNotAsked), ReasonUnmounted,
		Reason(selection.ReasonServiceAccountToken), ReasonNoSchedule, ReasonIgnored,
	}
}

// rank returns the index of a reason in Reasons, or their number for an unknown reason.
func rank(r Reason) int {
	all := ordered()
	for i := range all {
		if all[i] == r {
			return i
		}
	}
	return len(all)
}
