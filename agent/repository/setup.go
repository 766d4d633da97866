// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"context"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/velero-restic/velero-plugin-for-restic/agent/worker"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// The URL of a repository comes from its storage location.
//
// +kubebuilder:rbac:groups=velero.io,resources=backupstoragelocations,verbs=get;list;watch,namespace=velero

// SetupWithManager registers the reconciler.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, wakeup worker.Wakeup) error {
	return ctrl.NewControllerManagedBy(mgr).
		For(&resticv1.ResticRepository{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&velerov1.BackupStorageLocation{}, handler.EnqueueRequestsFromMapFunc(r.requestsForLocation),
			// Annotations of a location are settings too, and change no generation.
			builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{},
				predicate.AnnotationChangedPredicate{}))).
		Watches(&resticv1.PodVolumeBackup{}, handler.EnqueueRequestsFromMapFunc(requestsForFailed),
			builder.WithPredicates(failedNow())).
		Watches(&resticv1.PodVolumeRestore{}, handler.EnqueueRequestsFromMapFunc(requestsForFailed),
			builder.WithPredicates(failedNow())).
		WatchesRawSource(wakeup.Source()).
		WithOptions(worker.LeaderOnly()).Complete(r)
}

func (r *Reconciler) requestsForLocation(ctx context.Context, location client.Object) []reconcile.Request {
	repositories := &resticv1.ResticRepositoryList{}
	if err := r.Client.List(ctx, repositories, client.InNamespace(location.GetNamespace())); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing the repositories of a storage location")
		return nil
	}
	var requests []reconcile.Request
	for i := range repositories.Items {
		if repositories.Items[i].Spec.BackupStorageLocation == location.GetName() {
			requests = append(requests,
				reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&repositories.Items[i])})
		}
	}
	return requests
}

// failedNow lets through that an operation has failed. Its repository may be the reason, and is looked at.
func failedNow() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, knownBefore := e.ObjectOld.(resticv1.VolumeOperation)
			now, knownNow := e.ObjectNew.(resticv1.VolumeOperation)
			return knownBefore && knownNow && before.VolumeStatus().Phase != resticv1.PhaseFailed &&
				now.VolumeStatus().Phase == resticv1.PhaseFailed
		},
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}

func requestsForFailed(_ context.Context, object client.Object) []reconcile.Request {
	name := ""
	switch operation := object.(type) {
	case *resticv1.PodVolumeBackup:
		name = operation.Spec.Repository
	case *resticv1.PodVolumeRestore:
		name = operation.Spec.Repository
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: object.GetNamespace(), Name: name}}}
}
