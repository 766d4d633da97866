// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restore

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	"github.com/velero-restic/velero-plugin-for-restic/agent/volume"
	"github.com/velero-restic/velero-plugin-for-restic/agent/waiting"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// claimKey keeps the pods that share a claim from restoring it at the same time; empty for a volume that no other pod
// can have.
func claimKey(restore *resticv1.PodVolumeRestore) string {
	if restore.Spec.PVC == "" {
		return ""
	}
	return restore.Spec.RestoreUID + "/" + restore.Spec.Pod.Namespace + "/" + restore.Spec.PVC
}

// siblingRestore returns the restore of the same claim, for another pod, that has come furthest: one that is done, or
// else one that has begun, on whatever node; nil if there is neither.
func (r *Reconciler) siblingRestore(
	ctx context.Context, reader client.Reader, restore *resticv1.PodVolumeRestore, selector client.ListOption,
) (*resticv1.PodVolumeRestore, error) {
	all := &resticv1.PodVolumeRestoreList{}
	if err := reader.List(ctx, all, client.InNamespace(r.Namespace), selector); err != nil {
		return nil, fmt.Errorf("listing restores of the same claim: %w", err)
	}
	var atWork *resticv1.PodVolumeRestore
	for i := range all.Items {
		other := &all.Items[i]
		if other.Name == restore.Name || claimKey(other) != claimKey(restore) {
			continue
		}
		switch {
		case other.Status.Phase == resticv1.PhaseCompleted:
			return other, nil
		case !other.Status.Phase.Final() && other.Status.Attempts > 0:
			atWork = other
		}
	}
	return atWork, nil
}

// completeFromSibling completes the restore for a pod whose init container has ended well by the marker of a sibling:
// they share the claim, and so the marker. It returns that sibling, or nil if there is none.
func (r *Reconciler) completeFromSibling(
	ctx context.Context, restore *resticv1.PodVolumeRestore, helper helper,
) (*resticv1.PodVolumeRestore, error) {
	if claimKey(restore) == "" || helper.state.Terminated.ExitCode != 0 {
		return nil, nil
	}
	// From the API server: the sibling may be another node's, and its marker is quicker than this node's cache.
	sibling, err := r.siblingRestore(ctx, r.Reader, restore, sameRestore(restore))
	if err != nil || sibling == nil || sibling.Status.Phase != resticv1.PhaseCompleted {
		return nil, err
	}
	restore.Status.Node = r.Node
	recordRestore(restore, transfer.RestoreOutcome{SnapshotID: sibling.Status.SnapshotID})
	volume.Finish(&restore.Status.VolumeStatus, resticv1.PhaseCompleted, "", r.Clock)
	return sibling, nil
}

func sameRestore(restore *resticv1.PodVolumeRestore) client.MatchingLabels {
	return client.MatchingLabels{contract.LabelRestoreUID: restore.Labels[contract.LabelRestoreUID]}
}

// yieldToSibling makes room where agents of two nodes have begun to restore the same claim: each sees the other's
// attempt in the API server, both give way, and the one whose name comes first is the first to try again.
func (r *Reconciler) yieldToSibling(
	ctx context.Context, restore *resticv1.PodVolumeRestore,
) (wait waiting.Cause, retry time.Duration, err error) {
	sibling, err := r.siblingRestore(ctx, r.Reader, restore, sameRestore(restore))
	if err != nil || sibling == nil {
		return waiting.Cause{}, 0, err
	}
	retry = volume.WaitInterval
	if restore.Name < sibling.Name {
		retry = time.Second
	}
	return waitForSibling(restore, sibling), retry, nil
}

func waitForSibling(restore, sibling *resticv1.PodVolumeRestore) waiting.Cause {
	return waiting.Cause{
		Reason: resticv1.WaitingForSiblingRestore,
		Message: fmt.Sprintf("claim %s is being restored with pod %s", restore.Spec.PVC,
			sibling.Spec.Pod.Name),
	}
}

// planAfterSibling waits for the sibling, or takes over what it has restored.
func planAfterSibling(restore, sibling *resticv1.PodVolumeRestore) volume.Plan[transfer.RestoreOutcome] {
	if sibling.Status.Phase != resticv1.PhaseCompleted {
		return volume.Plan[transfer.RestoreOutcome]{Wait: waitForSibling(restore, sibling)}
	}
	outcome := transfer.RestoreOutcome{SnapshotID: sibling.Status.SnapshotID}
	return volume.Plan[transfer.RestoreOutcome]{
		Work: func(context.Context, func(transfer.Progress)) (transfer.RestoreOutcome, error) { return outcome, nil },
	}
}
