// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package controller

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
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
			&corev1.Pod{}:                   {Transform: reducePod},
			&corev1.PersistentVolumeClaim{}: {Transform: reduceClaim},
			&corev1.PersistentVolume{}:      {Transform: reduceVolume},
		},
	}
}

func reduceMeta(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion, Labels: m.Labels,
		DeletionTimestamp: m.DeletionTimestamp,
	}
}

// reducePod keeps of sources with much content only their kind, and of annotations those that are looked at.
func reducePod(object any) (any, error) {
	pod, ok := object.(*corev1.Pod)
	if !ok {
		return object, nil
	}
	reduced := &corev1.Pod{ObjectMeta: reduceMeta(pod.ObjectMeta), Status: corev1.PodStatus{Phase: pod.Status.Phase}}
	for _, key := range []string{
		contract.AnnotationVolumesToBackup, contract.AnnotationVolumesToExclude, contract.AnnotationVolumesByRule,
		corev1.MirrorPodAnnotationKey,
	} {
		if value, found := pod.Annotations[key]; found {
			metav1.SetMetaDataAnnotation(&reduced.ObjectMeta, key, value)
		}
	}
	for _, owner := range pod.OwnerReferences {
		reduced.OwnerReferences = append(reduced.OwnerReferences,
			metav1.OwnerReference{Kind: owner.Kind, Name: owner.Name})
	}
	for _, volume := range pod.Spec.Volumes {
		reduced.Spec.Volumes = append(reduced.Spec.Volumes, corev1.Volume{
			Name: volume.Name, VolumeSource: reduceSource(volume.VolumeSource),
		})
	}
	for _, c := range pod.Spec.InitContainers {
		if len(c.VolumeDevices) > 0 {
			reduced.Spec.InitContainers = append(reduced.Spec.InitContainers,
				corev1.Container{VolumeDevices: c.VolumeDevices})
		}
	}
	for _, c := range pod.Spec.Containers {
		if len(c.VolumeDevices) > 0 {
			reduced.Spec.Containers = append(reduced.Spec.Containers, corev1.Container{VolumeDevices: c.VolumeDevices})
		}
	}
	return reduced, nil
}

func reduceSource(source corev1.VolumeSource) corev1.VolumeSource {
	switch {
	case source.Projected != nil:
		return corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}}
	case source.ConfigMap != nil:
		return corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}
	case source.Secret != nil:
		return corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}}
	case source.DownwardAPI != nil:
		return corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{}}
	case source.Ephemeral != nil:
		return corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}
	}
	return source
}

func reduceClaim(object any) (any, error) {
	claim, ok := object.(*corev1.PersistentVolumeClaim)
	if !ok {
		return object, nil
	}
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: reduceMeta(claim.ObjectMeta),
		Spec: corev1.PersistentVolumeClaimSpec{
			Resources: claim.Spec.Resources, VolumeName: claim.Spec.VolumeName,
			StorageClassName: claim.Spec.StorageClassName, VolumeMode: claim.Spec.VolumeMode,
		},
		Status: corev1.PersistentVolumeClaimStatus{Phase: claim.Status.Phase},
	}, nil
}

func reduceVolume(object any) (any, error) {
	volume, ok := object.(*corev1.PersistentVolume)
	if !ok {
		return object, nil
	}
	reduced := &corev1.PersistentVolume{
		ObjectMeta: reduceMeta(volume.ObjectMeta),
		Spec: corev1.PersistentVolumeSpec{
			Capacity: volume.Spec.Capacity, PersistentVolumeSource: volume.Spec.PersistentVolumeSource,
			StorageClassName: volume.Spec.StorageClassName, VolumeMode: volume.Spec.VolumeMode,
		},
	}
	if csi := volume.Spec.CSI; csi != nil {
		reduced.Spec.CSI = &corev1.CSIPersistentVolumeSource{Driver: csi.Driver}
	}
	if claim := volume.Spec.ClaimRef; claim != nil {
		reduced.Spec.ClaimRef = &corev1.ObjectReference{Namespace: claim.Namespace, Name: claim.Name}
	}
	return reduced, nil
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
				"examples/component/annotate, which has its rights", needed.Verb, needed.Resource, in(needed.Namespace))
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
