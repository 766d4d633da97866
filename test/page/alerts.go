// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package page

func alerts() Guide {
	return Guide{
		File:   "docs/alerts.md",
		Before: createSample + backUpSample("page-alerts"),
		After:  deleteNamespace,
		Replace: map[string]string{
			"NS": "foo", "CLAIM": "test-volume-claim", "resticrepository NAME": "resticrepository " + fooRepository,
		},
		Checks: []Check{
			{
				Block:        "backup-excluded=true",
				Script:       "kubectl -n foo get pvc test-volume-claim -o jsonpath='{.metadata.annotations}'",
				ScriptOutput: []string{`"backup.velero.io/backup-excluded":"true"`},
			},
			{Block: "velero.io/volume-namespace=NS", Output: []string{"Completed"}},
			{Block: "get lease velero-restic-leader", Output: []string{"velero-restic-leader", "restic-"}},
			{Block: "describe resticrepository NAME", Output: []string{"Ready"}},
		},
		Skips: []Skip{{
			Block:   "kubectl apply -k examples/prometheus/operator",
			Reason:  "the cluster has no Prometheus operator; test/integration applies it to a server with the kinds",
			Instead: "kubectl kustomize examples/prometheus/operator",
		}},
	}
}
