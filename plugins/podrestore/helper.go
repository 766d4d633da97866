// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package podrestore

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

const (
	// helperGrace is how much longer the init container waits than Velero's operation, so that Velero, which can say
	// more, gives up first.
	helperGrace = 30 * time.Minute
	// veleroName is the name of Velero's container, and of its Deployment where `velero install` made it; its Helm
	// chart may have given the Deployment another one.
	veleroName = "velero"
)

// addHelper puts the init container first, so that the pod's own find the data. It returns what of the configuration
// was not used, for people.
func (r *request) addHelper(pod *unstructured.Unstructured, volumes []string) ([]string, error) {
	configMap, warning, err := r.cluster.PluginConfig(contract.PluginKindRestore)
	if err != nil {
		return nil, err
	}
	var config map[string]string
	if configMap != nil {
		config = configMap.Data
	}
	var warnings []string
	if warning != "" {
		warnings = append(warnings, warning)
	}
	image, more, err := imageOf(strings.TrimSpace(config[keyImage]), r.veleroImage)
	if err != nil {
		return nil, err
	}
	resources, bad := resourcesOf(config)
	security, refused := securityOf(config, &r.source.Spec)
	warnings = slices.Concat(warnings, unknownKeys(config), more, bad, refused)
	for _, warning := range warnings {
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
	return warnings, prepend(pod, &container)
}

// veleroImage returns the image of the Velero server.
func (r *request) veleroImage() (string, error) {
	var deployments appsv1.DeploymentList
	err := r.cluster.Retry(func() error {
		return r.cluster.Client.List(r.cluster.Context, &deployments, client.InNamespace(r.cluster.Namespace))
	})
	if err != nil {
		return "", fmt.Errorf("listing the Deployments in namespace %s for the tag of Velero's image: %w",
			r.cluster.Namespace, err)
	}
	image := ""
	for _, deployment := range deployments.Items {
		for _, container := range deployment.Spec.Template.Spec.Containers {
			if container.Name == veleroName && (image == "" || deployment.Name == veleroName) {
				image = container.Image
			}
		}
	}
	if image == "" {
		return "", fmt.Errorf("looking for the tag of Velero's image: no Deployment in namespace %s has a container "+
			"%s. Give key %s of the plugin's ConfigMap a tag", r.cluster.Namespace, veleroName, keyImage)
	}
	return image, nil
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
