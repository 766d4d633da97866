// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
)

// roleSession names the sessions of a role, in the logs of AWS, unless the profile does. AWS wants a name.
const roleSession = "velero-restic"

// s3Endpoint returns the endpoint in the URL of a repository.
func s3Endpoint(location *velerov1.BackupStorageLocation) (string, error) {
	if url := setting(location, "s3Url"); url != "" {
		if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
			return "", locationError(location,
				"spec.config.s3Url is %q: it must begin with http:// or https://", url)
		}
		return strings.TrimRight(url, "/"), nil
	}
	region := setting(location, "region")
	switch {
	case region == "":
		// Velero asked AWS where the bucket is. restic does so itself when the endpoint is the one without a region.
		return "s3.amazonaws.com", nil
	case strings.HasPrefix(region, "cn-"):
		return "s3." + region + ".amazonaws.com.cn", nil
	}
	// The form of Velero <= 1.16. No host has this name in newer regions and other partitions, nor need one: restic's
	// library for S3 takes the region out of it and then uses its own table (minio-go v7.1.0, endpoints.go).
	return "s3-" + region + ".amazonaws.com", nil
}

// configureS3 leaves the credential to restic as the file that it is, which restic's library for S3 can read by
// profile (minio-go v7.1.0, pkg/credentials/file_aws_credentials.go). Only for roles it must be told more.
func configureS3(in Input, access *Access) error {
	options, err := s3Options(in.Location)
	if err != nil {
		return err
	}
	access.Options = options
	passOn(access.Env, in.ProcessEnv, awsVariables())
	profile := setting(in.Location, "profile")
	if len(in.Credential) == 0 {
		passOn(access.Env, in.ProcessEnv, awsKeyVariables())
		if profile != "" {
			access.Env["AWS_PROFILE"] = profile
		}
		return nil
	}
	env, err := awsProfile(in.Credential, profile)
	if err != nil {
		return locationError(in.Location, "reading its credential: %v", err)
	}
	passOn(access.Env, env, slices.Concat(awsKeyVariables(), awsVariables()))
	if env["AWS_PROFILE"] != "" {
		access.Files[credentialFile] = in.Credential
		access.EnvFiles["AWS_SHARED_CREDENTIALS_FILE"] = credentialFile
	}
	return nil
}

// s3Options returns restic's options for the location's settings (restic v0.19.1, internal/backend/s3/config.go).
func s3Options(location *velerov1.BackupStorageLocation) ([]string, error) {
	var options []string
	pathStyle, err := boolSetting(location, "s3ForcePathStyle")
	if err != nil {
		return nil, err
	}
	switch {
	case pathStyle:
		options = append(options, "s3.bucket-lookup=path")
	case setting(location, "s3ForcePathStyle") != "" && setting(location, "s3Url") != "":
		// Said outright, this is what Velero's own plugin does with it. Unsaid, restic finds out by the host.
		options = append(options, "s3.bucket-lookup=dns")
	}
	if region := setting(location, "region"); region != "" {
		options = append(options, "s3.region="+region)
	}
	return options, nil
}

// awsProfile returns the environment for a profile in a credential of AWS: a file of sections named after profiles
// (https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html). AWS_PROFILE in it means that restic shall take
// the keys out of the file.
func awsProfile(credential []byte, profile string) (map[string]string, error) {
	if profile == "" {
		profile = "default"
	}
	sections := iniSections(credential)
	name, section := awsSection(sections, profile)
	if section == nil {
		return nil, fmt.Errorf("it has no profile %q: add a section [%s], or name another one in spec.config.profile",
			profile, profile)
	}
	role := section["role_arn"]
	switch {
	case section["credential_process"] != "":
		return nil, fmt.Errorf("profile %q runs a program (credential_process), which the agent does not have: "+
			"give it keys or a role", profile)
	case section["aws_access_key_id"] != "" && section["aws_secret_access_key"] != "" && role == "":
		return map[string]string{"AWS_PROFILE": name}, nil
	case role != "" && section["web_identity_token_file"] != "":
		return map[string]string{
			"AWS_ROLE_ARN":                role,
			"AWS_WEB_IDENTITY_TOKEN_FILE": section["web_identity_token_file"],
			"AWS_ROLE_SESSION_NAME":       cmp.Or(section["role_session_name"], roleSession),
		}, nil
	case role != "":
		return awsRole(sections, profile, name)
	}
	return nil, fmt.Errorf("profile %q has neither aws_access_key_id and aws_secret_access_key nor role_arn", profile)
}

// awsRole returns the environment by which restic takes on the role of a profile with the keys of its source profile
// (restic v0.19.1, internal/backend/s3/s3.go, getCredentials).
func awsRole(sections map[string]map[string]string, profile, name string) (map[string]string, error) {
	section := sections[name]
	env := map[string]string{
		"RESTIC_AWS_ASSUME_ROLE_ARN":          section["role_arn"],
		"RESTIC_AWS_ASSUME_ROLE_SESSION_NAME": cmp.Or(section["role_session_name"], roleSession),
		"RESTIC_AWS_ASSUME_ROLE_EXTERNAL_ID":  section["external_id"],
	}
	source := section["source_profile"]
	switch {
	case source != "":
		sourceName, keys := awsSection(sections, source)
		if keys["aws_access_key_id"] == "" || keys["aws_secret_access_key"] == "" {
			return nil, fmt.Errorf("profile %q takes its keys from profile %q, which has no aws_access_key_id and "+
				"aws_secret_access_key", profile, source)
		}
		env["AWS_PROFILE"] = sourceName
	case section["aws_access_key_id"] != "" && section["aws_secret_access_key"] != "":
		env["AWS_PROFILE"] = name
	case section["credential_source"] == "":
		return nil, fmt.Errorf("profile %q has a role_arn without source_profile, web_identity_token_file or "+
			"credential_source: add one of them", profile)
	}
	return env, nil
}

// awsSection finds a profile. In files that are called config, which Velero accepts too, its section is named
// "profile NAME".
func awsSection(sections map[string]map[string]string, profile string) (string, map[string]string) {
	for _, name := range []string{profile, "profile " + profile} {
		if section, ok := sections[name]; ok {
			return name, section
		}
	}
	return "", nil
}
