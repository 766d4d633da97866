// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package prometheus

import (
	"encoding/json"
	"fmt"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// discovery is the key for the discovery of pods in the configuration of a job. Debian builds Prometheus without
// Kubernetes service discovery.
const discovery = "kubernetes_sd_configs"

// Setting has the values that a test changes in the configuration for users.
type Setting struct {
	// Targets is the path of a file with the output of the function Targets.
	Targets string
	// Rules are the paths of rule files.
	Rules []string
	// Interval is the interval for scraping and for evaluating rules, such as 1s.
	Interval string
}

// Configure returns the configuration for users with the settings of the test. It keeps everything in the job, but
// replaces the discovery of pods with a file. It fails if the content is not such a configuration.
func Configure(content string, setting Setting) (string, error) {
	var config map[string]any
	if err := yaml.Unmarshal([]byte(content), &config); err != nil {
		return "", fmt.Errorf("reading the configuration: %w", err)
	}
	jobs, _ := config["scrape_configs"].([]any)
	for _, entry := range jobs {
		job, ok := entry.(map[string]any)
		if !ok || job[discovery] == nil {
			return "", fmt.Errorf("reading the configuration: job %v has no %s", entry, discovery)
		}
		delete(job, discovery)
		job["file_sd_configs"] = []any{map[string]any{"files": []string{setting.Targets}, "refresh_interval": "1s"}}
	}
	config["global"] = map[string]any{"scrape_interval": setting.Interval, "evaluation_interval": setting.Interval}
	config["rule_files"] = setting.Rules
	changed, err := yaml.Marshal(config)
	return string(changed), err
}

// Targets returns what Prometheus' discovery of pods finds, as JSON: a target for each port of each container, with the
// labels that the jobs for users select by (Prometheus v2.42, discovery/kubernetes/pod.go).
func Targets(pods []corev1.Pod) (string, error) {
	type target struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	found := []target{}
	for i := range pods {
		pod := &pods[i]
		if pod.Status.PodIP == "" {
			continue
		}
		for _, container := range pod.Spec.Containers {
			for _, port := range container.Ports {
				found = append(found, target{
					Targets: []string{net.JoinHostPort(pod.Status.PodIP, strconv.Itoa(int(port.ContainerPort)))},
					Labels: map[string]string{
						"__meta_kubernetes_namespace":               pod.Namespace,
						"__meta_kubernetes_pod_name":                pod.Name,
						"__meta_kubernetes_pod_node_name":           pod.Spec.NodeName,
						"__meta_kubernetes_pod_container_port_name": port.Name,
					},
				})
			}
		}
	}
	list, err := json.Marshal(found)
	return string(list), err
}
