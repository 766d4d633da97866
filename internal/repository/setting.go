// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"strings"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// The settings of a location that are for restic alone. They are keys of spec.config, or annotations of the location
// with contract.AnnotationSetting before the key, which win: a plugin that validates spec.config makes a location with
// keys that it does not know unavailable (velero v1.18.3, pkg/plugin/framework/validation.go).
const (
	// SettingPrefix is where the repositories are, in restic's words, as Velero <= 1.16 called it.
	SettingPrefix = "resticRepoPrefix"
	// SettingEnvSecret names a Secret in Velero's namespace with what the location's backend needs.
	SettingEnvSecret = "resticEnvSecret"
)

// EnvSecret returns the name of the Secret that the location names for restic's backend, or "".
func EnvSecret(location *velerov1.BackupStorageLocation) string {
	return setting(location, SettingEnvSecret)
}

// setting returns a setting of the location, or "".
func setting(location *velerov1.BackupStorageLocation, key string) string {
	if value := strings.TrimSpace(location.Annotations[contract.AnnotationSetting+key]); value != "" && isOurs(key) {
		return value
	}
	return strings.TrimSpace(location.Spec.Config[key])
}

// isOurs says whether a setting is for restic alone. Any other one is the plugin's too, and must be the same for both.
func isOurs(key string) bool { return key == SettingPrefix || key == SettingEnvSecret }

// settingName is how a message calls a setting: where it was found, or else where it belongs.
func settingName(location *velerov1.BackupStorageLocation, key string) string {
	if isOurs(key) && strings.TrimSpace(location.Annotations[contract.AnnotationSetting+key]) != "" {
		return "annotation " + contract.AnnotationSetting + key
	}
	return "spec.config." + key
}
