// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package page

// firstOf is the name of an object of this kind.
func firstOf(kind string) string {
	return "$(kubectl -n velero get " + kind + " -o jsonpath='{.items[0].metadata.name}')"
}

func retention() Guide {
	const name = "page-retention"
	return Guide{
		File: "docs/retention.md",
		Before: makeSample + takeSample(name) + loseNamespace +
			"velero restore create " + name + " --from-backup " + name + " --wait\n" + readSample,
		After: loseNamespace,
		Replace: map[string]string{
			"NAME": name, "velero backup create NAME": "velero backup create page-retention-2 --include-namespaces foo",
			"podvolumebackups.restic.velero.io NAME":  "podvolumebackups.restic.velero.io " + firstOf("podvolumebackups"),
			"podvolumerestores.restic.velero.io NAME": "podvolumerestores.restic.velero.io " + firstOf("podvolumerestores"),
			"delete resticrepository NAME":            "delete resticrepository " + fooRepository,
		},
		Checks: []Check{{
			Block: "velero backup delete NAME", Script: "kubectl -n velero get backups.velero.io -o name",
			Prints: []string{"page-retention-2\n"},
		}},
	}
}
