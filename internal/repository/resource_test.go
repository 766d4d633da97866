// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

func TestForNamespace(t *testing.T) {
	long := strings.Repeat("n", 63)
	got := ForNamespace("velero", long, strings.Repeat("l", 100), time.Hour)
	if got.Namespace != "velero" || got.Name != contract.RepositoryName(long, strings.Repeat("l", 100)) {
		t.Errorf("got %s/%s", got.Namespace, got.Name)
	}
	want := map[string]string{
		"velero.io/volume-namespace":    long,
		"velero.io/storage-location":    contract.LabelValue(strings.Repeat("l", 100)),
		"velero.io/exclude-from-backup": "true",
	}
	if diff := cmp.Diff(want, got.Labels); diff != "" {
		t.Error(diff)
	}
	if got.Spec.VolumeNamespace != long || got.Spec.BackupStorageLocation != strings.Repeat("l", 100) ||
		got.Spec.MaintenanceFrequency.Duration != time.Hour {
		t.Errorf("got %+v", got.Spec)
	}
}

// TestForNamespaceSetsTheDefaults compares what the API server gets with the defaults that it would fill in.
func TestForNamespaceSetsTheDefaults(t *testing.T) {
	content, err := json.Marshal(ForNamespace("velero", "shop", "default", 0))
	if err != nil {
		t.Fatal(err)
	}
	var sent struct {
		Spec map[string]any `json:"spec"`
	}
	if err := json.Unmarshal(content, &sent); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"maintenanceFrequency", "checkFrequency"} {
		text, _ := sent.Spec[field].(string)
		got, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		if want := schemaDefault(t, field); got != want {
			t.Errorf("%s of a new repository is %s, want the default %s", field, got, want)
		}
	}
}

// schemaDefault returns the default of a field of ResticRepositorySpec.
func schemaDefault(t *testing.T, field string) time.Duration {
	t.Helper()
	content, err := os.ReadFile("../../examples/base/crds/restic.velero.io_resticrepositories.yaml")
	if err != nil {
		t.Fatal(err)
	}
	type schema struct {
		Properties map[string]struct {
			Properties map[string]struct {
				Default any `json:"default"`
			} `json:"properties"`
		} `json:"properties"`
	}
	var definition struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPI schema `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(content, &definition); err != nil {
		t.Fatal(err)
	}
	spec := definition.Spec.Versions[0].Schema.OpenAPI.Properties["spec"]
	text, _ := spec.Properties[field].Default.(string)
	duration, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return duration
}
