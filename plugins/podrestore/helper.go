// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package podrestore

import (
	"fmt"
	"path"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

const (
	// helperGrace is how much longer the init container waits than Velero's operation, so that Velero, which can say
	// more, gives up first.
	helperGrace = 30 * time.Minute
	// veleroName is the name of Velero's Deployment and of its container: `velero install` gives no choice
	// (velero v1.18.3, pkg/install/deployment.go).
	veleroName = "velero"
)

// addHelper puts the init container first, so that the pod's own find the data.
func (r *request) addHelper(pod *unstructured.Unstructured, volumes []string) error {
	config, warning, err := r.cluster.PluginConfig(contract.PluginKindRestore)
	if err != nil {
		return err
	}
	if warning != "" {
		r.log.Warn(warning)
	}
	image, warnings, err := imageOf(config[keyImage], r.veleroImage)
	if err != nil {
		return err
	}
	resources, more := resourcesOf(config)
	warnings = append(warnings, more...)
	security, more := securityOf(config, &r.source.Spec)
	for _, warning := range append(warnings, more...) {
		r.log.Warn(warning)
	}
	container := corev1.Container{
		Name:    contract.RestoreContainer,
		Image:   image,
		Command: []string{orElse(config[keyCommand], contract.RestoreHelperCommand)},
		Args: []string{
			"--timeout=" + (timeoutOf(r.restore) + helperGrace).String(), string(r.restore.UID),
		},
		Resources:       resources,
		SecurityContext: security,
	}
	for _, volume := range volumes {
		container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{
			Name: volume, MountPath: path.Join(contract.RestoreVolumesDir, volume), ReadOnly: true,
		})
	}
	return prepend(pod, &container)
}

// veleroImage returns the image of the Velero server.
func (r *request) veleroImage() (string, error) {
	var deployment appsv1.Deployment
	if err := r.cluster.Get(r.cluster.Namespace, veleroName, &deployment); err != nil {
		return "", fmt.Errorf("reading Deployment %s/%s for the tag of its image: %w",
			r.cluster.Namespace, veleroName, err)
	}
	for _, container := range deployment.Spec.Template.Spec.Containers {
		if container.Name == veleroName {
			return container.Image, nil
		}
	}
	return "", fmt.Errorf("reading Deployment %s/%s for the tag of its image: it has no container %s",
		r.cluster.Namespace, veleroName, veleroName)
}

// prepend puts a container before the pod's other init containers, which stay as they came.
func prepend(pod *unstructured.Unstructured, container *corev1.Container) error {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(container)
	if err != nil {
		return fmt.Errorf("encoding init container %s: %w", container.Name, err)
	}
	others, _, err := unstructured.NestedSlice(pod.Object, "spec", "initContainers")
	if err != nil {
		return fmt.Errorf("reading the init containers of pod %s/%s: %w", pod.GetNamespace(), pod.GetName(), err)
	}
	err = unstructured.SetNestedSlice(pod.Object, append([]any{fields}, others...), "spec", "initContainers")
	if err != nil {
		return fmt.Errorf("setting the init containers of pod %s/%s: %w", pod.GetNamespace(), pod.GetName(), err)
	}
	return nil
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
