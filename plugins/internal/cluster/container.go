// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package cluster

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// RemoveInitContainer takes the init containers of this name out of a pod, and says whether there was one. The pod is
// changed as it came, so that no field is lost that this version of the API does not know.
func RemoveInitContainer(pod *unstructured.Unstructured, name string) (bool, error) {
	containers, found, err := unstructured.NestedSlice(pod.Object, "spec", "initContainers")
	if err != nil {
		return false, fmt.Errorf("reading the init containers of pod %s/%s: %w", pod.GetNamespace(), pod.GetName(), err)
	}
	if !found {
		return false, nil
	}
	kept := make([]any, 0, len(containers))
	for _, container := range containers {
		if fields, isMap := container.(map[string]any); isMap && fields["name"] == name {
			continue
		}
		kept = append(kept, container)
	}
	if len(kept) == len(containers) {
		return false, nil
	}
	if len(kept) == 0 {
		unstructured.RemoveNestedField(pod.Object, "spec", "initContainers")
		return true, nil
	}
	if err := unstructured.SetNestedSlice(pod.Object, kept, "spec", "initContainers"); err != nil {
		return false, fmt.Errorf("setting the init containers of pod %s/%s: %w", pod.GetNamespace(), pod.GetName(), err)
	}
	return true, nil
}
