// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package podrestore

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// makeWritable has the kubelet mount these volumes for writing, where the pod asks for reading only: nothing could be
// restored into them. Instead each of its containers mounts them for reading only, which is the same to them.
func makeWritable(pod *unstructured.Unstructured, names []string) error {
	volumes, _, err := unstructured.NestedSlice(pod.Object, "spec", "volumes")
	if err != nil {
		return fmt.Errorf("reading the volumes of pod %s/%s: %w", pod.GetNamespace(), pod.GetName(), err)
	}
	var changed []string
	for _, entry := range volumes {
		volume, isMap := entry.(map[string]any)
		if !isMap {
			continue
		}
		name, _ := volume["name"].(string)
		if slices.Contains(names, name) && allowWriting(volume) {
			changed = append(changed, name)
		}
	}
	if len(changed) == 0 {
		return nil
	}
	if err := unstructured.SetNestedSlice(pod.Object, volumes, "spec", "volumes"); err != nil {
		return fmt.Errorf("setting the volumes of pod %s/%s: %w", pod.GetNamespace(), pod.GetName(), err)
	}
	for _, field := range []string{"initContainers", "containers"} {
		if err := mountForReading(pod, field, changed); err != nil {
			return err
		}
	}
	return nil
}

// allowWriting clears readOnly in the source of a volume, whose kind is the only other key beside the name. It says
// whether it was set.
func allowWriting(volume map[string]any) bool {
	for _, value := range volume {
		if source, isMap := value.(map[string]any); isMap && source["readOnly"] == true {
			delete(source, "readOnly")
			return true
		}
	}
	return false
}

// mountForReading sets readOnly on the mounts of these volumes in a list of containers.
func mountForReading(pod *unstructured.Unstructured, field string, volumes []string) error {
	containers, found, err := unstructured.NestedSlice(pod.Object, "spec", field)
	if err != nil {
		return fmt.Errorf("reading the %s of pod %s/%s: %w", field, pod.GetNamespace(), pod.GetName(), err)
	}
	if !found {
		return nil
	}
	for _, entry := range containers {
		container, _ := entry.(map[string]any)
		mounts, _ := container["volumeMounts"].([]any)
		for _, entry := range mounts {
			mount, isMap := entry.(map[string]any)
			if name, _ := mount["name"].(string); isMap && slices.Contains(volumes, name) {
				mount["readOnly"] = true
			}
		}
	}
	if err := unstructured.SetNestedSlice(pod.Object, containers, "spec", field); err != nil {
		return fmt.Errorf("setting the %s of pod %s/%s: %w", field, pod.GetNamespace(), pod.GetName(), err)
	}
	return nil
}
