// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package cluster

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/pluginconfig"
)

// PluginConfig returns the ConfigMap that configures the plugin's actions of this kind, nil without one.
// Of several it takes the first by name; the second result says so for people, and is empty otherwise.
func (c *Cluster) PluginConfig(kind string) (*corev1.ConfigMap, string, error) {
	var list corev1.ConfigMapList
	err := c.Retry(func() error {
		return c.Client.List(c.Context, &list, client.InNamespace(c.Namespace),
			client.MatchingLabelsSelector{Selector: pluginconfig.Selector(kind)})
	})
	if err != nil {
		return nil, "", fmt.Errorf("listing the ConfigMaps with label %s=%s in namespace %s: %w",
			contract.LabelPluginName, kind, c.Namespace, err)
	}
	used, others := pluginconfig.Choose(list.Items)
	warning := ""
	if len(others) > 0 {
		warning = fmt.Sprintf("ConfigMaps %s and %s in namespace %s both carry label %s=%s: %s is used, delete "+
			"the other", used.Name, others[0], c.Namespace, contract.LabelPluginName, kind, used.Name)
	}
	return used, warning, nil
}
