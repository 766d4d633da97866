// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package page

func retention() Guide {
	const name = "page-retention"
	// first returns the kind and the name of the first object of the kind.
	first := func(kind string) string {
		return kind + " $(kubectl -n velero get " + kind + " -o jsonpath='{.items[0].metadata.name}')"
	}
	const backups, restores = "podvolumebackups.restic.velero.io", "podvolumerestores.restic.velero.io"
	return Guide{
		File: "docs/retention.md",
		Before: createSample + backUpSample(name) + deleteNamespace +
			"velero restore create " + name + " --from-backup " + name + " --wait\n" + readSample,
		After: deleteNamespace,
		Replace: map[string]string{
			"NAME": name, backups + " NAME": first(backups), restores + " NAME": first(restores),
			"velero backup create NAME":    "velero backup create page-retention-2 --include-namespaces foo",
			"delete resticrepository NAME": "delete resticrepository " + fooRepository,
		},
		Checks: []Check{{
			Block: "velero backup delete NAME", Script: "kubectl -n velero get backups.velero.io -o name",
			ScriptOutput: []string{"page-retention-2\n"},
		}},
	}
}
