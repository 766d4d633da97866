// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package prometheus runs a real Prometheus, Debian's, for tests of the metrics and of the alert rules and scrape
// configurations in examples/prometheus.
package prometheus

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/host"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
)

// Paths in the repository.
const (
	// Examples is the directory with all files for users.
	Examples = "examples/prometheus"
	// RulesFile has the alert rules. OperatorFile has the same rules for the Prometheus operator.
	RulesFile    = Examples + "/alerts.yaml"
	OperatorFile = Examples + "/operator/prometheusrule.yaml"
	// WatcherRulesFile has the alert for users of velero-pvc-watcher.
	WatcherRulesFile = Examples + "/velero-pvc-watcher.yaml"
	// ScrapeFile is a complete configuration of Prometheus.
	ScrapeFile = Examples + "/prometheus.yml"
)

// Programs are the paths of the programs prometheus and promtool.
type Programs struct{ Server, Tool string }

// Find returns the programs of Debian's package. It unpacks the package into the cache instead of installing it,
// because the installation would start a server, immediately and at every boot.
func Find(ctx context.Context, cache part.Cache, out io.Writer) (Programs, error) {
	root, err := host.Unpack(ctx, out, filepath.Join(cache.Root, "debian"), "prometheus")
	if err != nil {
		return Programs{}, fmt.Errorf("finding a Prometheus: %w", err)
	}
	programs := filepath.Join(root, "usr", "bin")
	return Programs{Server: filepath.Join(programs, "prometheus"), Tool: filepath.Join(programs, "promtool")}, nil
}
