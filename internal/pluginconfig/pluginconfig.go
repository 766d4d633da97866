// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package pluginconfig finds the plugin's configuration among the ConfigMaps of Velero's namespace, for all that read
// it: they must not find different ones. It is pure.
package pluginconfig

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// Kinds returns the kinds of actions that can be configured.
func Kinds() []string { return []string{contract.PluginKindBackup, contract.PluginKindRestore} }

// Selector selects the ConfigMaps for the plugin's actions of a kind, as Velero selects those of its own: the first
// label may have any value (velero v1.18.3, pkg/plugin/framework/common/plugin_config.go, PluginConfigLabelSelector).
func Selector(kind string) labels.Selector {
	marked, err := labels.NewRequirement(contract.LabelPluginConfig, selection.Exists, nil)
	utilruntime.Must(err) // the key is a constant
	return labels.SelectorFromSet(labels.Set{contract.LabelPluginName: kind}).Add(*marked)
}

// Choose returns the ConfigMap that counts out of those that are selected, which is the first by name, and the names of
// the others in their order; nil out of none. It leaves the list as it is.
func Choose(configMaps []corev1.ConfigMap) (used *corev1.ConfigMap, others []string) {
	if len(configMaps) == 0 {
		return nil, nil
	}
	sorted := slices.SortedFunc(slices.Values(configMaps), func(a, b corev1.ConfigMap) int {
		return strings.Compare(a.Name, b.Name)
	})
	for i := range sorted[1:] {
		others = append(others, sorted[i+1].Name)
	}
	return &sorted[0], others
}
