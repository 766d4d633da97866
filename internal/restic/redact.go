// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic

import (
	"net/url"
	"slices"
	"strings"
)

// redactMin is the length from which on the value of a variable counts as a secret, in bytes. Shorter ones are flags
// and numbers, and would tear holes into every message.
const redactMin = 6

// plainVariables have values that help to understand a message and are no secrets: places and switches.
// RESTIC_REPOSITORY is not among them only because of the password that its URL may hold: see newRedactor.
func plainVariables() []string {
	return []string{
		"HOME", "PATH", "TMPDIR", "TZ", "XDG_CACHE_HOME", "LANG",
		"RESTIC_CACHE_DIR", "RESTIC_CACERT", "RESTIC_PASSWORD_FILE", "RESTIC_PROGRESS_FPS", "RESTIC_COMPRESSION",
		"RESTIC_FEATURES", "RESTIC_HOST", "RESTIC_AWS_ASSUME_ROLE_ARN", "RESTIC_AWS_ASSUME_ROLE_REGION",
		"RESTIC_AWS_ASSUME_ROLE_STS_ENDPOINT", "RESTIC_AWS_ASSUME_ROLE_SESSION_NAME",
		"AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_STS_REGIONAL_ENDPOINTS", "AWS_ROLE_SESSION_NAME",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
		"AZURE_ACCOUNT_NAME", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_AUTHORITY_HOST", "AZURE_ENDPOINT_SUFFIX",
		"AZURE_FEDERATED_TOKEN_FILE", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_PROJECT_ID",
		"GOMAXPROCS", "GOGC", "GOMEMLIMIT", "NO_PROXY", "no_proxy",
	}
}

// redactor takes secrets out of texts.
type redactor struct{ replacer *strings.Replacer }

// newRedactor knows the secrets in an environment. A message has the name of the variable in the place of its value.
func newRedactor(env []string) redactor {
	secrets, plain := map[string]string{}, plainVariables() // secrets by value
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		if password := urlPassword(value); password != "" {
			secrets[password] = name
			continue
		}
		if name == envRepository || len(value) < redactMin || slices.Contains(plain, name) {
			continue
		}
		secrets[value] = name
	}
	// The longest first: one secret may begin with another.
	values := make([]string, 0, len(secrets))
	for value := range secrets {
		values = append(values, value)
	}
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })
	var pairs []string
	for _, value := range values {
		pairs = append(pairs, value, "["+secrets[value]+"]")
	}
	return redactor{strings.NewReplacer(pairs...)}
}

func (r redactor) clean(text string) string { return r.replacer.Replace(text) }

// urlPassword returns the password in a URL, which may follow restic's name of the backend, or "".
func urlPassword(value string) string {
	before, _, isURL := strings.Cut(value, "://")
	if !isURL {
		return ""
	}
	scheme := strings.LastIndexByte(before, ':') + 1
	parsed, err := url.Parse(value[scheme:])
	if err != nil || parsed.User == nil {
		return ""
	}
	password, _ := parsed.User.Password()
	return password
}
