// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import "strings"

// configureGCS gives restic the key of a service account as the file that it is. Without one, restic asks the
// platform (restic v0.19.1, internal/backend/gs/gs.go).
func configureGCS(in Input, access *Access) error {
	passOn(access.Env, in.ProcessEnv, googleVariables())
	if len(in.Credential) > 0 {
		delete(access.Env, "GOOGLE_ACCESS_TOKEN") // restic would prefer it
		delete(access.Env, "GOOGLE_APPLICATION_CREDENTIALS")
		access.Files[credentialFile] = in.Credential
		access.EnvFiles["GOOGLE_APPLICATION_CREDENTIALS"] = credentialFile
	}
	return nil
}

// configureOther passes on what restic's other backends read from the environment. The location's credential may hold
// it as lines of NAME=value; other lines, such as those of a credential for Velero's own use, are passed over.
func configureOther(in Input, access *Access) error {
	passOn(access.Env, in.ProcessEnv, otherVariables())
	passOn(access.Env, dotenv(in.Credential), otherVariables())
	return nil
}

// configureREST is for a server of restic's own protocol.
func configureREST(in Input, access *Access) error {
	if !strings.HasPrefix(access.URL, "rest:http://") && !strings.HasPrefix(access.URL, "rest:https://") {
		return locationError(in.Location, "%s must go on with http:// or https:// after rest:",
			settingName(in.Location, SettingPrefix))
	}
	return configureOther(in, access)
}

// configureRclone leaves all to rclone, which restic starts. A file with its remotes is handed over as that; remotes
// may as well be variables (https://rclone.org/docs/#config-file).
func configureRclone(in Input, access *Access) error {
	if len(in.extraFiles[KeyRcloneConfig]) > 0 {
		access.EnvFiles["RCLONE_CONFIG"] = KeyRcloneConfig
	}
	return configureOther(in, access)
}
