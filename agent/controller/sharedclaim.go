// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package controller

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
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

// twin returns the restore of the same claim, for another pod, that has come furthest: one that is done, or else one
// that has begun, on whatever node; nil if there is neither.
func (r *RestoreReconciler) twin(
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

// restoredBy completes the restore for a pod whose init container has ended well by the marker of a twin: they share
// the claim, and so the marker. It returns that twin, or nil if there is none.
func (r *RestoreReconciler) restoredBy(
	ctx context.Context, restore *resticv1.PodVolumeRestore, helper helper,
) (*resticv1.PodVolumeRestore, error) {
	if claimKey(restore) == "" || helper.state.Terminated.ExitCode != 0 {
		return nil, nil
	}
	// From the API server: the twin may be another node's, and its marker is quicker than this node's cache.
	twin, err := r.twin(ctx, r.Reader, restore, ofSameRestore(restore))
	if err != nil || twin == nil || twin.Status.Phase != resticv1.PhaseCompleted {
		return nil, err
	}
	restore.Status.Node = r.Node
	recordRestore(restore, transfer.RestoreOutcome{SnapshotID: twin.Status.SnapshotID})
	finish(&restore.Status.VolumeStatus, resticv1.PhaseCompleted, "", r.Clock)
	return twin, nil
}

func ofSameRestore(restore *resticv1.PodVolumeRestore) client.MatchingLabels {
	return client.MatchingLabels{contract.LabelRestoreUID: restore.Labels[contract.LabelRestoreUID]}
}

// yield makes room where agents of two nodes have begun to restore the same claim: each sees the other's attempt in
// the API server, both give way, and the one whose name comes first is the first to try again.
func (r *RestoreReconciler) yield(
	ctx context.Context, restore *resticv1.PodVolumeRestore,
) (wait string, retry time.Duration, err error) {
	twin, err := r.twin(ctx, r.Reader, restore, ofSameRestore(restore))
	if err != nil || twin == nil {
		return "", 0, err
	}
	retry = waitInterval
	if restore.Name < twin.Name {
		retry = time.Second
	}
	wait = fmt.Sprintf("waiting: claim %s is being restored with pod %s", restore.Spec.PVC, twin.Spec.Pod.Name)
	return wait, retry, nil
}

// planBeside waits for the twin, or takes over what it has restored.
func planBeside(restore, twin *resticv1.PodVolumeRestore) plan[transfer.RestoreOutcome] {
	if twin.Status.Phase != resticv1.PhaseCompleted {
		return plan[transfer.RestoreOutcome]{
			wait: fmt.Sprintf("waiting: claim %s is being restored with pod %s", restore.Spec.PVC, twin.Spec.Pod.Name),
		}
	}
	outcome := transfer.RestoreOutcome{SnapshotID: twin.Status.SnapshotID}
	return plan[transfer.RestoreOutcome]{
		work: func(context.Context, func(transfer.Progress)) (transfer.RestoreOutcome, error) { return outcome, nil },
	}
}
