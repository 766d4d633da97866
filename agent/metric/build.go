// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package metric

import "github.com/prometheus/client_golang/prometheus"

// RegisterBuild registers a gauge that is always 1 and whose labels say which build this agent is: the version of the
// product, such as v0.1.0, and that of restic, such as 0.19.1. It returns the registry's error.
func RegisterBuild(registry prometheus.Registerer, version, restic string) error {
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info",
		Help: "Always 1. The labels are the versions of this agent and of its restic.",
	}, []string{"version", "restic"})
	build.WithLabelValues(version, restic).Set(1)
	return registry.Register(build)
}
