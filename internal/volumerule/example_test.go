// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumerule_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

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
	if diff := cmp.Diff([]string{"no Jobs", "caches", "databases", "team blue"}, rules.Names()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(volumerule.Labels(), configMap.Labels); diff != "" {
		t.Errorf("the plugin does not find it: %s", diff)
	}
}
