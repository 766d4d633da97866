// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package annotate

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/velero-restic/velero-plugin-for-restic/agent/worker"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
)

// indexClaims is the key of the index of pods by the names of their claims.
const indexClaims = "spec.claims"

// SetupWithManager registers the reconciler. The manager's cache must be made with AnnotateCache.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(ctx, &corev1.Pod{}, indexClaims, claimNames); err != nil {
		return fmt.Errorf("indexing pods by their claims: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).Named("annotate").For(&corev1.Pod{}).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.allPods)).
		Watches(&corev1.PersistentVolumeClaim{}, handler.EnqueueRequestsFromMapFunc(r.podsOfClaim)).
		Watches(&corev1.PersistentVolume{}, handler.EnqueueRequestsFromMapFunc(r.podsOfVolume)).
		WithOptions(worker.LeaderOnly()).Complete(r)
}

func claimNames(object client.Object) []string {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return nil
	}
	return selection.ClaimNames(pod)
}

// allPods has every pod looked at again: the rules have changed.
func (r *Reconciler) allPods(ctx context.Context, _ client.Object) []reconcile.Request {
	return r.pods(ctx)
}

func (r *Reconciler) podsOfClaim(ctx context.Context, claim client.Object) []reconcile.Request {
	return r.pods(ctx, client.InNamespace(claim.GetNamespace()), client.MatchingFields{indexClaims: claim.GetName()})
}

func (r *Reconciler) podsOfVolume(ctx context.Context, object client.Object) []reconcile.Request {
	volume, ok := object.(*corev1.PersistentVolume)
	if !ok || volume.Spec.ClaimRef == nil {
		return nil
	}
	claim := volume.Spec.ClaimRef
	return r.pods(ctx, client.InNamespace(claim.Namespace), client.MatchingFields{indexClaims: claim.Name})
}

func (r *Reconciler) pods(ctx context.Context, options ...client.ListOption) []reconcile.Request {
	var list corev1.PodList
	if err := r.Client.List(ctx, &list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing the pods that the rules may concern")
		return nil
	}
	requests, err := worker.RequestsFor(&list)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Reading the pods that the rules may concern")
	}
	return requests
}
