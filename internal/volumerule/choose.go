// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumerule

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// Labels returns the labels of the ConfigMap with the rules.
func Labels() map[string]string {
	return map[string]string{contract.LabelPluginConfig: "", contract.LabelPluginName: contract.PluginKindBackup}
}

// Choose returns the ConfigMap that has the rules, out of those of Velero's namespace with Labels: the first by name,
// as for every configuration of the plugin; nil out of none. It leaves the list as it is.
func Choose(configMaps []corev1.ConfigMap) *corev1.ConfigMap {
	if len(configMaps) == 0 {
		return nil
	}
	first := slices.MinFunc(configMaps, func(a, b corev1.ConfigMap) int { return strings.Compare(a.Name, b.Name) })
	return &first
}
