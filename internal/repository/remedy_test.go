// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"strings"
	"testing"
)

// TestRemedy has texts that no server of test/storage gives; those of the others are tried there.
func TestRemedy(t *testing.T) {
	cases := map[string]struct{ url, text, want string }{
		"a key that AWS does not know": {
			"s3:s3.amazonaws.com/b/r", "InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our records.",
			"spec.credential",
		},
		"no key at all":        {"s3:s3.amazonaws.com/b/r", "no credentials found. Use `-o s3.unsafe-anonymous-auth`", "role"},
		"an identity of Azure": {"azure:c:/r", "403 AuthorizationPermissionMismatch", "Storage Blob Data Contributor"},
		"a key of Azure":       {"azure:c:/r", "403 AuthenticationFailed", "spec.credential"},
		"no key of Google": {
			"gs:b:/r", "google: could not find default credentials", "workload identity",
		},
		"a bucket of Google":             {"gs:b:/r", "googleapi: Error 403: does not have storage.objects.get", "Object Admin"},
		"a name that is none":            {"rest:https://h/r", "dial tcp: lookup h: no such host", "may the agents' nodes reach it"},
		"a certificate for another name": {"rest:https://h/r", "x509: certificate is valid for a, not h", "replace it"},
		"a server without TLS":           {"rest:https://h/r", "server gave HTTP response to HTTPS client", "http://"},
		"another backend's words":        {"/mnt/r", "401 Unauthorized", ""},
		"no answer at all":               {"s3:s3/b/r", "", "may the agents' nodes reach it"},
		"something else":                 {"s3:s3/b/r", "unexpected EOF", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := Remedy(c.url, c.text)
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q", got)
			}
		})
	}
}
