// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package cluster_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster/clustertest"
)

func TestPluginConfig(t *testing.T) {
	labeled := func(name string, labels map[string]string) *corev1.ConfigMap {
		configMap := clustertest.Rules(name, "")
		configMap.Labels = labels
		return configMap
	}
	marked := labeled("marked", map[string]string{
		contract.LabelPluginConfig: "true", contract.LabelPluginName: contract.PluginKindBackup,
	})
	for sentence, test := range map[string]struct {
		configMaps []client.Object
		want       string
		warns      []string
	}{
		"none":                        {},
		"one":                         {configMaps: []client.Object{clustertest.Rules("rules", "")}, want: "rules"},
		"one whose label has a value": {configMaps: []client.Object{marked}, want: "marked"},
		"one without the first label": {configMaps: []client.Object{labeled("x", map[string]string{contract.LabelPluginName: contract.PluginKindBackup})}},
		"one of another kind":         {configMaps: []client.Object{labeled("x", map[string]string{contract.LabelPluginConfig: "", contract.LabelPluginName: contract.PluginKindRestore})}},
		"two, of which the first is it": {
			configMaps: []client.Object{clustertest.Rules("rules", ""), marked}, want: "marked",
			warns: []string{"ConfigMaps marked and rules", "marked is used"},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			c := clustertest.New(t, interceptor.Funcs{}, test.configMaps...)
			configMap, warning, err := c.PluginConfig(contract.PluginKindBackup)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if configMap != nil {
				got = configMap.Name
			}
			if got != test.want {
				t.Errorf("ConfigMap %q is used, want %q", got, test.want)
			}
			for _, part := range test.warns {
				if !strings.Contains(warning, part) {
					t.Errorf("the warning is %q and does not say %q", warning, part)
				}
			}
			if test.warns == nil && warning != "" {
				t.Errorf("there is a warning: %s", warning)
			}
		})
	}
}
