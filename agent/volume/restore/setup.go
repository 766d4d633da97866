// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restore

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/velero-restic/velero-plugin-for-restic/agent/volume"
	"github.com/velero-restic/velero-plugin-for-restic/agent/worker"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// Keys of the cache's indexes of PodVolumeRestores.
const (
	indexPod   = "spec.pod"
	indexClaim = "spec.claim"
)

// SetupWithManager registers the reconciler. The manager's cache must hold this node's pods alone.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, wakeup worker.Wakeup) error {
	indexes := map[string]func(*resticv1.PodVolumeRestore) string{
		indexPod:   func(p *resticv1.PodVolumeRestore) string { return p.Spec.Pod.Namespace + "/" + p.Spec.Pod.Name },
		indexClaim: claimKey,
		volume.IndexRepository: func(p *resticv1.PodVolumeRestore) string {
			if p.Status.Phase.Final() {
				return ""
			}
			return p.Spec.Repository
		},
	}
	for key, value := range indexes {
		extract := func(o client.Object) []string {
			restore, ok := o.(*resticv1.PodVolumeRestore)
			if !ok || value(restore) == "" {
				return nil
			}
			return []string{value(restore)}
		}
		err := mgr.GetFieldIndexer().IndexField(ctx, &resticv1.PodVolumeRestore{}, key, extract)
		if err != nil {
			return err
		}
	}
	list := func() client.ObjectList { return &resticv1.PodVolumeRestoreList{} }
	return ctrl.NewControllerManagedBy(mgr).For(&resticv1.PodVolumeRestore{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.requestsForPod)).
		Watches(&resticv1.ResticRepository{}, handler.EnqueueRequestsFromMapFunc(r.RequestsForRepository(list))).
		WatchesRawSource(wakeup.Source()).
		WithOptions(worker.EveryNode()).Complete(r)
}

func (r *Reconciler) requestsForPod(ctx context.Context, pod client.Object) []reconcile.Request {
	restores := &resticv1.PodVolumeRestoreList{}
	if err := r.Client.List(ctx, restores, client.InNamespace(r.Namespace),
		client.MatchingFields{indexPod: pod.GetNamespace() + "/" + pod.GetName()}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing the restores of a pod", "pod", client.ObjectKeyFromObject(pod))
		return nil
	}
	var requests []reconcile.Request
	for i := range restores.Items {
		if !restores.Items[i].Status.MarkerRemoved {
			key := client.ObjectKeyFromObject(&restores.Items[i])
			requests = append(requests, reconcile.Request{NamespacedName: key})
		}
	}
	return requests
}
