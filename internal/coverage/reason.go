// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package coverage

import (
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
)

// Reason is why a claim is not protected. The list is closed: it is part of metrics and output. Where package selection
// decided about the claim's volume, its reasons are used as they are.
type Reason string

// The reasons that selection does not know.
const (
	// ReasonIgnored: the claim's annotation backup.velero.io/backup-excluded is "true".
	ReasonIgnored Reason = "Ignored"
	// ReasonNoSchedule: no schedule in effect has the claim, or a pod that uses it, in its backups.
	ReasonNoSchedule Reason = "NoSchedule"
	// ReasonUnmounted: no pod uses the claim, and Velero makes no snapshot of it.
	ReasonUnmounted Reason = "Unmounted"
	// ReasonNoSnapshot: a volume policy asks for a snapshot, and nothing can make one of this volume.
	ReasonNoSnapshot Reason = "NoSnapshot"
	// ReasonNeverSucceeded: scheduled backups take the claim, and none of them has succeeded yet.
	ReasonNeverSucceeded Reason = "NeverSucceeded"
	// ReasonStale: the last success is older than two runs of the schedule, or than was allowed.
	ReasonStale Reason = "Stale"
	// ReasonLastFailed: the last backup of the claim failed.
	ReasonLastFailed Reason = "LastFailed"
	// ReasonLocationUnavailable: the storage location of the schedule is not available, so that its backups fail.
	ReasonLocationUnavailable Reason = "LocationUnavailable"
	// ReasonPolicyInvalid: the volume policies of the schedule cannot be read, so that its backups fail.
	ReasonPolicyInvalid Reason = "PolicyInvalid"
)

// Reasons returns all reasons, the one nearest to protection first. Of several pods and schedules the first one counts.
func Reasons() []Reason {
	all := ordered()
	return all[:]
}

// ordered is Reasons without an allocation, for each candidate is ranked by it.
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

// rank is the place of a reason in Reasons, and their number for one that is not there.
func rank(r Reason) int {
	all := ordered()
	for i := range all {
		if all[i] == r {
			return i
		}
	}
	return len(all)
}
