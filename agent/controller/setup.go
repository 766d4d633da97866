// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package controller

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// Keys of the cache's indexes.
const (
	indexPod        = "spec.pod"
	indexClaim      = "spec.claim"
	indexRepository = "spec.repository"
	indexForget     = "spec.forget"
)

// Wakeup brings the keys of jobs that have changed from a transfer.Pool to a controller.
type Wakeup chan event.TypedGenericEvent[types.NamespacedName]

// NewWakeup returns a Wakeup, with room for what happens before the controller has started.
func NewWakeup() Wakeup { return make(Wakeup, 1024) }

// Changed is the callback of a transfer.Pool whose keys are those of reconcile requests. It never blocks: a controller
// that has stopped must not hold up jobs, and one that is behind looks at its objects again by itself.
func (w Wakeup) Changed(key string) {
	select {
	case w <- event.TypedGenericEvent[types.NamespacedName]{Object: namespacedName(key)}:
	default:
	}
}

func namespacedName(key string) types.NamespacedName {
	for i := range key {
		if key[i] == types.Separator {
			return types.NamespacedName{Namespace: key[:i], Name: key[i+1:]}
		}
	}
	return types.NamespacedName{Name: key}
}

func (w Wakeup) source() source.Source {
	toRequest := func(_ context.Context, name types.NamespacedName) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: name}}
	}
	return source.Channel(w, handler.TypedEnqueueRequestsFromMapFunc(toRequest))
}

// workers is how many objects of a kind are looked at at the same time. None waits for restic.
const workers = 4

// SetupWithManager registers the reconciler. The manager's cache must hold this node's PodVolumeBackups alone.
func (r *BackupReconciler) SetupWithManager(mgr ctrl.Manager, wakeup Wakeup) error {
	extract := func(o client.Object) []string {
		backup, ok := o.(*resticv1.PodVolumeBackup)
		if !ok || backup.Status.Phase.Final() {
			return nil
		}
		return []string{backup.Spec.Repository}
	}
	//nolint:forbidigo // the manager's indexer does not use its context
	err := mgr.GetFieldIndexer().IndexField(context.TODO(), &resticv1.PodVolumeBackup{}, indexRepository, extract)
	if err != nil {
		return err
	}
	list := func() client.ObjectList { return &resticv1.PodVolumeBackupList{} }
	return ctrl.NewControllerManagedBy(mgr).For(&resticv1.PodVolumeBackup{}).
		Watches(&resticv1.ResticRepository{}, handler.EnqueueRequestsFromMapFunc(r.requestsForRepository(list))).
		WatchesRawSource(wakeup.source()).
		WithOptions(unelected()).Complete(r)
}

// SetupWithManager registers the reconciler. The manager's cache must hold this node's pods alone.
func (r *RestoreReconciler) SetupWithManager(mgr ctrl.Manager, wakeup Wakeup) error {
	indexes := map[string]func(*resticv1.PodVolumeRestore) string{
		indexPod:   func(p *resticv1.PodVolumeRestore) string { return p.Spec.Pod.Namespace + "/" + p.Spec.Pod.Name },
		indexClaim: claimKey,
		indexRepository: func(p *resticv1.PodVolumeRestore) string {
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
		//nolint:forbidigo // the manager's indexer does not use its context
		err := mgr.GetFieldIndexer().IndexField(context.TODO(), &resticv1.PodVolumeRestore{}, key, extract)
		if err != nil {
			return err
		}
	}
	list := func() client.ObjectList { return &resticv1.PodVolumeRestoreList{} }
	return ctrl.NewControllerManagedBy(mgr).For(&resticv1.PodVolumeRestore{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(r.requestsForPod)).
		Watches(&resticv1.ResticRepository{}, handler.EnqueueRequestsFromMapFunc(r.requestsForRepository(list))).
		WatchesRawSource(wakeup.source()).
		WithOptions(unelected()).Complete(r)
}

// unelected runs a controller on every node, whoever leads.
func unelected() controller.Options {
	elected := false
	return controller.Options{MaxConcurrentReconciles: workers, NeedLeaderElection: &elected}
}

func (r *RestoreReconciler) requestsForPod(ctx context.Context, pod client.Object) []reconcile.Request {
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

// requestsForRepository wakes the operations that wait for a repository.
func (o *NodeOptions) requestsForRepository(newList func() client.ObjectList) handler.MapFunc {
	return func(ctx context.Context, repository client.Object) []reconcile.Request {
		list := newList()
		if err := o.Client.List(ctx, list, client.InNamespace(o.Namespace),
			client.MatchingFields{indexRepository: repository.GetName()}); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Listing what waits for a repository", "repository", repository.GetName())
			return nil
		}
		requests, err := requestsFor(list)
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "Reading what waits for a repository", "repository", repository.GetName())
		}
		return requests
	}
}

func requestsFor(list client.ObjectList) ([]reconcile.Request, error) {
	var requests []reconcile.Request
	err := meta.EachListItem(list, func(item runtime.Object) error {
		object, err := meta.Accessor(item)
		if err != nil {
			return err
		}
		requests = append(requests, reconcile.Request{
			NamespacedName: types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()},
		})
		return nil
	})
	return requests, err
}
