// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package prometheus is for trying the metrics, and the alert rules and scrape configurations in examples/prometheus,
// on a real Prometheus: Debian's.
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
	// Examples is the folder with everything for users.
	Examples = "examples/prometheus"
	// RulesFile has the alert rules, and OperatorFile the same for the Prometheus operator.
	RulesFile    = Examples + "/alerts.yaml"
	OperatorFile = Examples + "/operator/prometheusrule.yaml"
	// OldRulesFile has what users of velero-pvc-watcher alert on.
	OldRulesFile = Examples + "/velero-pvc-watcher.yaml"
	// ScrapeFile is a whole configuration of a Prometheus.
	ScrapeFile = Examples + "/prometheus.yml"
)

// Programs are the paths of a Prometheus.
type Programs struct{ Server, Tool string }

// Find returns the programs of Debian's package, which is not installed but unpacked into the cache: installing it
// would start a server, at once and at every boot.
func Find(ctx context.Context, cache part.Cache, out io.Writer) (Programs, error) {
	root, err := host.Unpack(ctx, out, filepath.Join(cache.Root, "debian"), "prometheus")
	if err != nil {
		return Programs{}, fmt.Errorf("finding a Prometheus: %w", err)
	}
	programs := filepath.Join(root, "usr", "bin")
	return Programs{Server: filepath.Join(programs, "prometheus"), Tool: filepath.Join(programs, "promtool")}, nil
}
