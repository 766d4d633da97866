// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package annotate

import (
	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/inventory"
	"github.com/velero-restic/velero-plugin-for-restic/internal/pluginconfig"
)

// CacheOptions returns the options of a cache with all pods, claims and volumes of the cluster, reduced to what rules
// look at, and of the ConfigMaps those with rules in Velero's namespace. 10,000 pods with a claim and a volume each
// take some 60 MiB.
func CacheOptions(namespace string) cache.Options {
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
