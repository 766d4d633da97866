// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package integration

import (
	"path/filepath"
	"testing"
)

// TestOperator gives what examples/prometheus/operator has to an API server that knows the Prometheus operator's kinds,
// and refuses fields that they do not have.
func TestOperator(t *testing.T) {
	definitions := filepath.Join(pinned(t, "operator", "github.com/prometheus-operator/prometheus-operator"),
		"example", "prometheus-operator-crd")
	workspace, _ := platformServer(t,
		filepath.Join(definitions, "monitoring.coreos.com_podmonitors.yaml"),
		filepath.Join(definitions, "monitoring.coreos.com_prometheusrules.yaml"))
	output, err := workspace.Run(t.Context(), `kubectl create namespace velero
kubectl apply --validate=strict -k examples/prometheus/operator
kubectl -n velero get podmonitor velero-restic -o jsonpath='{.spec.podMetricsEndpoints[0].honorLabels}'`)
	if err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if want := "true"; output[len(output)-len(want):] != want {
		t.Errorf("the PodMonitor renames the label of a claim's namespace: %s", output)
	}
}
