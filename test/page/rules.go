// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package page

func rules() Guide {
	return Guide{
		File: "docs/rules.md",
		Before: createSample + `kubectl -n velero create configmap velero-volume-controller \
  --from-literal=config.yml='veleroVolumeCfg: {includeNamespaces: foo}'`,
		After: deleteNamespace + "kubectl -n velero delete configmap velero-restic-rules velero-volume-controller " +
			"--ignore-not-found\n",
		Replace: map[string]string{"NAME": "page-rules", "NAMESPACE": "foo"},
		Apply:   []string{"  name: velero-restic-rules"},
		Checks: []Check{
			{Block: "custom-columns", Output: []string{"pvc-volume", "claims of foo"}},
			{
				Block: "label configmap velero-volume-controller",
				Script: "kubectl -n velero delete configmap velero-restic-rules\n" +
					"velero backup create page-original --include-namespaces foo --wait\n" +
					"kubectl -n velero get podvolumebackups -l velero.io/backup-name=page-original " +
					"-o jsonpath='{range .items[*]}{.spec.volume} {.status.phase};{end}'",
				ScriptOutput: []string{"\npvc-volume Completed;"},
			},
		},
	}
}
