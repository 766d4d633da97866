// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package reference

import (
	"testing"

	"github.com/velero-restic/velero-plugin-for-restic/agent/metric"
)

// TestReference tests that the pages match the code. Those about flags and commands are tested in packages agent and
// cli.
func TestReference(t *testing.T) {
	for page, write := range map[string]func(repository string) (string, error){
		"events.md": Events, "labels.md": Labels, "plugin.md": Plugin, "metrics.md": metrics,
		"permissions.md": Permissions,
	} {
		t.Run(page, func(t *testing.T) {
			content, err := write(Repository(t))
			if err != nil {
				t.Fatal(err)
			}
			Check(t, page, content)
		})
	}
}

// metrics registers what the agent registers.
func metrics(string) (string, error) {
	registry := &Registry{}
	if _, err := metric.New(registry); err != nil {
		return "", err
	}
	if err := metric.RegisterBuild(registry, "v0.1.0", "0.19.1"); err != nil {
		return "", err
	}
	if err := registry.Register(metric.NewCoverage(nil)); err != nil {
		return "", err
	}
	return registry.Metrics()
}
