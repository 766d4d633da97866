// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import "strings"

// The functions whose names end in Variables list what is passed on to restic. A name in a list that ends with an
// underscore stands for all that begin with it. Nothing else of a process's environment reaches restic: neither the
// addresses of the cluster's services nor what somebody once put there for another program.

func commonVariables() []string {
	return []string{
		"PATH", "HOME", "TMPDIR", "TZ",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
		"SSL_CERT_FILE", "SSL_CERT_DIR",
		"GOMAXPROCS", "GOGC", "GOMEMLIMIT",
		"RESTIC_COMPRESSION", "RESTIC_PACK_SIZE", "RESTIC_READ_CONCURRENCY", "RESTIC_FEATURES",
	}
}

// awsVariables say how to sign in as somebody, and where; all but the keys themselves.
func awsVariables() []string {
	return []string{
		"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_STS_REGIONAL_ENDPOINTS",
		"AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
		"AWS_EC2_METADATA_DISABLED",
		"RESTIC_AWS_ASSUME_ROLE_",
	}
}

// awsKeyVariables would win over a credential of the location (restic v0.19.1, internal/backend/s3/s3.go), and so
// are passed on only if there is none.
func awsKeyVariables() []string {
	return []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
		"AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE",
	}
}

func azureVariables() []string {
	return []string{
		"AZURE_ACCOUNT_NAME", "AZURE_ACCOUNT_KEY", "AZURE_ACCOUNT_SAS", "AZURE_ENDPOINT_SUFFIX",
		"AZURE_AUTHORITY_HOST", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET",
		"AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_FEDERATED_TOKEN_FILE",
		"AZURE_ADDITIONALLY_ALLOWED_TENANTS",
	}
}

func googleVariables() []string {
	return []string{
		"GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_ACCESS_TOKEN", "GOOGLE_PROJECT_ID", "GOOGLE_CLOUD_PROJECT",
		"GCE_METADATA_HOST",
	}
}

func otherVariables() []string {
	return []string{
		"B2_ACCOUNT_ID", "B2_ACCOUNT_KEY", "ST_", "OS_", "SWIFT_", "RCLONE_",
		"RESTIC_REST_USERNAME", "RESTIC_REST_PASSWORD", "RESTIC_TLS_CLIENT_CERT", "SSH_AUTH_SOCK",
	}
}

// passOn copies the variables that are in the list and have a value.
func passOn(to, from map[string]string, list []string) {
	for name, value := range from {
		if value != "" && inList(name, list) {
			to[name] = value
		}
	}
}

func inList(name string, list []string) bool {
	for _, entry := range list {
		if name == entry || (strings.HasSuffix(entry, "_") && strings.HasPrefix(name, entry)) {
			return true
		}
	}
	return false
}

// dotenv reads lines of NAME=value, as Velero's plugins for Azure and others want their credential. Lines of another
// form are passed over; quotes around a value are taken off.
func dotenv(content []byte) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(string(content)) {
		name, value, ok := keyValue(strings.TrimPrefix(strings.TrimSpace(line), "export "))
		if ok {
			values[name] = unquote(value)
		}
	}
	return values
}

// iniSections reads sections of key = value, as AWS has them; keys before the first section are passed over.
func iniSections(content []byte) map[string]map[string]string {
	sections := map[string]map[string]string{}
	var section map[string]string
	for line := range strings.Lines(strings.TrimPrefix(string(content), "\ufeff")) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok {
			name, _, _ = strings.Cut(name, "]")
			name = strings.TrimSpace(name)
			if sections[name] == nil {
				sections[name] = map[string]string{}
			}
			section = sections[name]
			continue
		}
		if key, value, ok := keyValue(line); ok && section != nil {
			section[strings.ToLower(key)] = unquote(value)
		}
	}
	return sections
}

// keyValue splits a line at its first equals sign. Comments are none.
func keyValue(line string) (key, value string, ok bool) {
	if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
		return "", "", false
	}
	key, value, ok = strings.Cut(line, "=")
	key = strings.TrimSpace(key)
	return key, strings.TrimSpace(value), ok && key != ""
}

func unquote(value string) string {
	if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
		return value[1 : len(value)-1]
	}
	return value
}
