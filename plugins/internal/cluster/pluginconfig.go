// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package cluster

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// PluginConfig returns the ConfigMap that configures the plugin's actions of this kind, nil without one.
// Of several it takes the first by name; the second result says so for people, and is empty otherwise.
func (c *Cluster) PluginConfig(kind string) (*corev1.ConfigMap, string, error) {
	var list corev1.ConfigMapList
	labels := client.MatchingLabels{contract.LabelPluginConfig: "", contract.LabelPluginName: kind}
	err := c.Retry(func() error {
		return c.Client.List(c.Context, &list, client.InNamespace(c.Namespace), labels)
	})
	if err != nil {
		return nil, "", fmt.Errorf("listing the ConfigMaps with label %s=%s in namespace %s: %w",
			contract.LabelPluginName, kind, c.Namespace, err)
	}
	if len(list.Items) == 0 {
		return nil, "", nil
	}
	slices.SortFunc(list.Items, func(a, b corev1.ConfigMap) int { return strings.Compare(a.Name, b.Name) })
	warning := ""
	if len(list.Items) > 1 {
		warning = fmt.Sprintf("ConfigMaps %s and %s in namespace %s both carry label %s=%s: %s is used, delete "+
			"the other",
			list.Items[0].Name, list.Items[1].Name, c.Namespace, contract.LabelPluginName, kind, list.Items[0].Name)
	}
	return &list.Items[0], warning, nil
}
