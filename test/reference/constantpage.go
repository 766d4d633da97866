// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package reference

import (
	"cmp"
	"path/filepath"
	"strings"
)

// Events returns the page about Events, conditions and reasons. The repository is its root directory.
func Events(repository string) (string, error) {
	const events, conditions = "api/v1/event.go", "api/v1/resticrepository.go"
	const skipped = "internal/selection/reason.go"
	reasons, err := constants(filepath.Join(repository, events), "Reason")
	if err != nil {
		return "", err
	}
	types, err := constants(filepath.Join(repository, conditions), "Condition")
	if err != nil {
		return "", err
	}
	skips, err := constants(filepath.Join(repository, skipped), "Reason")
	if err != nil {
		return "", err
	}
	var out strings.Builder
	out.WriteString(header("Events and conditions", strings.Join([]string{events, conditions, skipped}, ", "),
		"Programs can rely on reasons and types. Messages are for people and can change. Reasons of Events are also "+
			"those of conditions."))
	for _, found := range reasons {
		title, _, _ := strings.Cut(found.doc, ".")
		out.WriteString("\n## " + cmp.Or(title, "Reasons of conditions only") + "\n" + found.table("reason"))
	}
	out.WriteString("\n## Conditions of a ResticRepository\n")
	for _, found := range types {
		out.WriteString(found.table("type"))
	}
	out.WriteString("\n## Reasons why a volume is not backed up\n\n" +
		"They are in `spec.skip.reason` of a PodVolumeBackup, in metrics, and in what `velero-restic plan` prints. " +
		"What to do about each: " +
		"[coverage](../coverage.md#reasons).\n")
	for _, found := range skips {
		out.WriteString(found.table("reason"))
	}
	return out.String(), nil
}

// Labels returns the page about labels and annotations. The repository is its root directory.
func Labels(repository string) (string, error) {
	const source = "internal/contract/label.go"
	groups, err := constants(filepath.Join(repository, source), "")
	if err != nil {
		return "", err
	}
	var out strings.Builder
	out.WriteString(header("Labels and annotations", source,
		"Programs, scripts and existing backups can rely on them."))
	for _, found := range groups {
		title, rest, more := strings.Cut(found.doc, ". ")
		out.WriteString("\n## " + strings.TrimSuffix(title, ".") + "\n")
		if more {
			out.WriteString("\n" + rest + "\n")
		}
		out.WriteString(found.table("key"))
	}
	return out.String(), nil
}

// Plugin returns the page about the settings of the plugin. The repository is its root directory.
func Plugin(repository string) (string, error) {
	const source = "plugins/podrestore/key.go"
	keys, err := constants(filepath.Join(repository, source), "key")
	if err != nil {
		return "", err
	}
	var out strings.Builder
	out.WriteString(header("Settings of the plugin", source,
		"Keys of the ConfigMap that configures the init container of restored pods. It is in Velero's namespace and "+
			"has the labels `velero.io/plugin-config: \"\"` and `velero.io/restic: RestoreItemAction`. A value that "+
			"cannot be used is ignored, with a warning in the restore's log. An example: [restore](../restore.md). "+
			"The ConfigMap with the label value `BackupItemAction` contains [rules](../rules.md)."))
	for _, found := range keys {
		out.WriteString(found.table("key"))
	}
	return out.String(), nil
}
