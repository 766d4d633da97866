// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package page

func alerts() Guide {
	return Guide{
		File:   "docs/alerts.md",
		Before: makeSample + takeSample("page-alerts"),
		After:  loseNamespace,
		Replace: map[string]string{
			"NS": "foo", "CLAIM": "test-volume-claim", "resticrepository NAME": "resticrepository " + repositoryOfFoo,
		},
		Checks: []Check{
			{
				Block:  "backup-excluded=true",
				Script: "kubectl -n foo get pvc test-volume-claim -o jsonpath='{.metadata.annotations}'",
				Prints: []string{`"backup.velero.io/backup-excluded":"true"`},
			},
			{Block: "velero.io/volume-namespace=NS", Says: []string{"Completed"}},
			{Block: "get lease velero-restic-leader", Says: []string{"velero-restic-leader", "restic-"}},
			{Block: "describe resticrepository NAME", Says: []string{"Ready"}},
		},
		Left: []Left{{
			Block:   "kubectl apply -k examples/prometheus/operator",
			Reason:  "the cluster has no Prometheus operator; test/integration gives it to a server that has its kinds",
			Instead: "kubectl kustomize examples/prometheus/operator",
		}},
	}
}
