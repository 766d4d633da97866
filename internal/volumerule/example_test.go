// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumerule_test

import (
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/pluginconfig"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumerule"
)

// TestRulesToCopy reads what users copy.
func TestRulesToCopy(t *testing.T) {
	content, err := os.ReadFile(filepath.Join("..", "..", "examples", "rules.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var configMap corev1.ConfigMap
	if err := yaml.UnmarshalStrict(content, &configMap); err != nil {
		t.Fatal(err)
	}
	rules, err := volumerule.Parse(&configMap)
	if err != nil {
		t.Fatal(err)
	}
	if name, action, _ := rules.Match(claimed()); name != "" || action != "" {
		t.Errorf("a volume that they are not about meets %q (%s)", name, action)
	}
	for namespace, want := range map[string]string{"shop-eu": "databases", "blue-1": "team blue"} {
		v := claimed()
		v.Pod.Namespace, v.Pod.Labels["tier"], v.Claim.Spec.StorageClassName = namespace, "queue", ptr.To("fast-ssd")
		if name, _, _ := rules.Match(v); name != want {
			t.Errorf("a claim in namespace %s meets %q, want %q", namespace, name, want)
		}
		v.Claim.Labels["purpose"] = "cache"
		if name, _, _ := rules.Match(v); name != "caches" {
			t.Errorf("a cache in namespace %s meets %q", namespace, name)
		}
		v.Pod.OwnerReferences[0].Name = "nightly-29412345"
		if name, _, _ := rules.Match(v); name != "no Jobs" {
			t.Errorf("a claim of a nightly Job in namespace %s meets %q", namespace, name)
		}
	}
	if !pluginconfig.Selector(contract.PluginKindBackup).Matches(labels.Set(configMap.Labels)) {
		t.Errorf("the plugin does not find it by the labels %v", configMap.Labels)
	}
}
