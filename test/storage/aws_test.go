// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package storage

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// sts stands for Amazon's service that changes a token of the cluster into keys. There is none to be had.
type sts struct{ role, token string }

func (s sts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	action := r.Form.Get("Action")
	good := r.Form.Get("RoleArn") == s.role
	if action == "AssumeRoleWithWebIdentity" {
		good = good && r.Form.Get("WebIdentityToken") == s.token
	} else {
		good = good && strings.Contains(r.Header.Get("Authorization"), "Credential="+accessKey+"/")
	}
	w.Header().Set("Content-Type", "text/xml")
	if !good {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>`+
			`<Code>AccessDenied</Code><Message>Not authorized to perform sts:`+action+`</Message></Error></ErrorResponse>`)
		return
	}
	fmt.Fprintf(w, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult><Credentials>`+
		`<AccessKeyId>%[2]s</AccessKeyId><SecretAccessKey>%[3]s</SecretAccessKey><SessionToken></SessionToken>`+
		`<Expiration>%[4]s</Expiration></Credentials></%[1]sResult></%[1]sResponse>`,
		action, accessKey, secretKey, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

// TestAWS uses the addresses of Amazon, behind which is the S3 gateway.
func TestAWS(t *testing.T) {
	t.Parallel()
	const role = "arn:aws:iam::111122223333:role/velero"
	f := newFront(t, map[string]http.Handler{
		"sts." + region + ".amazonaws.com": sts{role, "token-of-the-cluster"},
		"amazonaws.com":                    toServer(gateway(t)),
	})
	newAWS := func(t *testing.T, prefix string, config map[string]string) *world {
		config["s3ForcePathStyle"] = "true" // the gateway knows no bucket by its host
		w := newWorld(t, bucket("velero.io/aws", "bucket", config))
		w.location.Spec.ObjectStorage.Prefix = prefix
		w.behind(f)
		w.private = append(w.private, secretKey, "token-of-the-cluster")
		return w
	}
	t.Run("with the region looked up", func(t *testing.T) {
		w := newAWS(t, "looked-up", map[string]string{})
		w.credential(awsCredential)
		w.cycle()
		if !f.asked("s3.dualstack." + region + ".amazonaws.com") {
			t.Errorf("the bucket's own region was not asked, but %v", f.hosts)
		}
	})
	t.Run("with the token of the service account", func(t *testing.T) {
		w := newAWS(t, "token", map[string]string{"region": region})
		w.env["AWS_ROLE_ARN"], w.env["AWS_REGION"] = role, region
		w.env["AWS_WEB_IDENTITY_TOKEN_FILE"] = writeFile(t, "token-of-the-cluster")
		w.cycle()
	})
	t.Run("with a token that the role does not trust", func(t *testing.T) {
		w := newAWS(t, "refused", map[string]string{"region": region})
		w.env["AWS_ROLE_ARN"], w.env["AWS_REGION"] = role, region
		w.env["AWS_WEB_IDENTITY_TOKEN_FILE"] = writeFile(t, "another")
		w.refused("give the agents' service account a role", "trusts")
	})
	t.Run("with a role that keys may take on", func(t *testing.T) {
		w := newAWS(t, "role", map[string]string{"region": region, "profile": "role"})
		w.credential(awsCredential + "[role]\nrole_arn=" + role + "\nsource_profile=default\n")
		w.cycle()
	})
	t.Run("with the identity that EKS gives to a pod", func(t *testing.T) {
		agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "token-of-the-pod" {
				http.Error(w, "who are you?", http.StatusForbidden)
				return
			}
			fmt.Fprintf(w, `{"AccessKeyId":%q,"SecretAccessKey":%q,"Token":"","Expiration":%q}`,
				accessKey, secretKey, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		}))
		t.Cleanup(agent.Close)
		w := newAWS(t, "pod", map[string]string{"region": region})
		w.env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = agent.URL + "/v1/credentials"
		w.env["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = writeFile(t, "token-of-the-pod")
		w.cycle()
	})
}
