// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package controller

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/inventory"
	"github.com/velero-restic/velero-plugin-for-restic/internal/pluginconfig"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
)

// indexClaims is the key of the index of pods by the names of their claims.
const indexClaims = "spec.claims"

// SetupWithManager registers the reconciler. The manager's cache must be made with AnnotateCache.
func (r *AnnotateReconciler) SetupWithManager(mgr ctrl.Manager) error {
	//nolint:forbidigo // the manager's indexer does not use its context
	if err := mgr.GetFieldIndexer().IndexField(context.TODO(), &corev1.Pod{}, indexClaims, claimNames); err != nil {
		return fmt.Errorf("indexing pods by their claims: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).Named("annotate").For(&corev1.Pod{}).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.allPods)).
		Watches(&corev1.PersistentVolumeClaim{}, handler.EnqueueRequestsFromMapFunc(r.podsOfClaim)).
		Watches(&corev1.PersistentVolume{}, handler.EnqueueRequestsFromMapFunc(r.podsOfVolume)).
		WithOptions(leaderOptions()).Complete(r)
}

func claimNames(object client.Object) []string {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return nil
	}
	return selection.ClaimNames(pod)
}

// allPods has every pod looked at again: the rules have changed.
func (r *AnnotateReconciler) allPods(ctx context.Context, _ client.Object) []reconcile.Request {
	return r.pods(ctx)
}

func (r *AnnotateReconciler) podsOfClaim(ctx context.Context, claim client.Object) []reconcile.Request {
	return r.pods(ctx, client.InNamespace(claim.GetNamespace()), client.MatchingFields{indexClaims: claim.GetName()})
}

func (r *AnnotateReconciler) podsOfVolume(ctx context.Context, object client.Object) []reconcile.Request {
	volume, ok := object.(*corev1.PersistentVolume)
	if !ok || volume.Spec.ClaimRef == nil {
		return nil
	}
	claim := volume.Spec.ClaimRef
	return r.pods(ctx, client.InNamespace(claim.Namespace), client.MatchingFields{indexClaims: claim.Name})
}

func (r *AnnotateReconciler) pods(ctx context.Context, options ...client.ListOption) []reconcile.Request {
	var list corev1.PodList
	if err := r.Client.List(ctx, &list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing the pods that the rules may concern")
		return nil
	}
	requests, err := requestsFor(&list)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Reading the pods that the rules may concern")
	}
	return requests
}

// AnnotateCache returns the options of a cache with all pods, claims and volumes of the cluster, reduced to what rules
// look at, and of the ConfigMaps those with rules in Velero's namespace. 10,000 pods with a claim and a volume each
// take some 60 MiB.
func AnnotateCache(namespace string) cache.Options {
	return cache.Options{
		ReaderFailOnMissingInformer: true,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.ConfigMap{}: {
				Namespaces: map[string]cache.Config{namespace: {}},
				Label:      pluginconfig.Selector(contract.PluginKindBackup),
			},
			&corev1.Pod{}:                   {Transform: reduce(reducePod)},
			&corev1.PersistentVolumeClaim{}: {Transform: reduce(inventory.StripClaim)},
			&corev1.PersistentVolume{}:      {Transform: reduce(reduceVolume)},
		},
	}
}

// reduce makes objects small before the cache keeps them. Their version stays: by it the cache tells what has changed,
// and the API server whether a patch is of what was decided on.
func reduce[T client.Object](strip func(T)) toolscache.TransformFunc {
	return func(object any) (any, error) {
		one, isOne := object.(T)
		if !isOne {
			return object, nil
		}
		version := one.GetResourceVersion()
		strip(one)
		one.SetResourceVersion(version)
		return one, nil
	}
}

// reducePod drops volumes with the API's content, too, which no rule can include.
func reducePod(pod *corev1.Pod) {
	inventory.StripPod(pod)
	inventory.DropContent(pod)
}

// reduceVolume drops what volume policies look at, and rules do not.
func reduceVolume(volume *corev1.PersistentVolume) {
	inventory.StripVolume(volume)
	if volume.Spec.CSI != nil {
		volume.Spec.CSI.VolumeAttributes = nil
	}
}

// CheckAnnotateRights returns an error that names what the agent may not do and needs to annotate pods. Asked first,
// it is one message instead of one a pod.
func CheckAnnotateRights(ctx context.Context, c client.Client, namespace string) error {
	for _, needed := range []authorizationv1.ResourceAttributes{
		{Resource: "configmaps", Verb: "list", Namespace: namespace},
		{Resource: "configmaps", Verb: "watch", Namespace: namespace},
		{Resource: "pods", Verb: "list"},
		{Resource: "pods", Verb: "watch"},
		{Resource: "pods", Verb: "patch"},
		{Resource: "persistentvolumeclaims", Verb: "list"},
		{Resource: "persistentvolumeclaims", Verb: "watch"},
		{Resource: "persistentvolumes", Verb: "list"},
		{Resource: "persistentvolumes", Verb: "watch"},
	} {
		review := &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: ptr.To(needed)},
		}
		if err := c.Create(ctx, review); err != nil {
			return fmt.Errorf("asking whether the agent may %s %s: %w", needed.Verb, needed.Resource, err)
		}
		if !review.Status.Allowed {
			return fmt.Errorf("--annotate-pods is set and the agent may not %s %s%s: apply "+
				"examples/base with examples/component/annotate, which have its rights",
				needed.Verb, needed.Resource, in(needed.Namespace))
		}
	}
	return nil
}

func in(namespace string) string {
	if namespace == "" {
		return " of all namespaces"
	}
	return " of namespace " + namespace
}
