// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package storage

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// googleLogin stands for Google's service that gives out tokens for the signature of a service account.
type googleLogin struct{ key *rsa.PublicKey }

func (g googleLogin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.FormValue("assertion"), ".")
	w.Header().Set("Content-Type", "application/json")
	if len(parts) == 3 {
		signature, err := base64.RawURLEncoding.DecodeString(parts[2])
		sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		if err == nil && rsa.VerifyPKCS1v15(g.key, crypto.SHA256, sum[:], signature) == nil {
			fmt.Fprint(w, `{"access_token":"token-of-google","token_type":"Bearer","expires_in":3600}`)
			return
		}
	}
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprint(w, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`)
}

// withToken asks for Google's token, which the server behind does not.
func withToken(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token-of-google" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":{"code":401,"message":"Invalid Credentials"}}`)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func serviceAccount(t *testing.T, key *rsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	content, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "project", "private_key_id": "1",
		"private_key":  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		"client_email": "velero@project.iam.gserviceaccount.com", "token_uri": "https://oauth2.googleapis.com/token",
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func newRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestGCS uses the addresses of Google, behind which is a server with the interface of its storage.
func TestGCS(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	start(t, address, nil, suite.gcs, "-scheme", "http", "-host", "127.0.0.1", "-port", port(t, address),
		"-backend", "memory", "-external-url", "https://storage.googleapis.com", "-log-level", "error")
	made, err := http.Post(url("http", address)+"/storage/v1/b?project=project", "application/json",
		bytes.NewBufferString(`{"name":"bucket"}`))
	if err != nil || made.Body.Close() != nil || made.StatusCode != http.StatusOK {
		t.Fatalf("making the bucket: %v, %v", made, err)
	}
	key := newRSA(t)
	f := newFront(t, map[string]http.Handler{
		"oauth2.googleapis.com": googleLogin{&key.PublicKey}, "storage.googleapis.com": withToken(toServer(address)),
	})
	newGCS := func(t *testing.T, prefix string) *world {
		w := newWorld(t, bucket("gcp", "bucket", nil))
		w.location.Spec.ObjectStorage.Prefix = prefix
		w.behind(f)
		w.private = append(w.private, "token-of-google", "PRIVATE KEY")
		return w
	}
	t.Run("with the key of a service account", func(t *testing.T) {
		w := newGCS(t, "key")
		w.credential(serviceAccount(t, key))
		w.cycle()
	})
	t.Run("with another key", func(t *testing.T) {
		w := newGCS(t, "other")
		w.credential(serviceAccount(t, newRSA(t)))
		w.refused("Invalid JWT Signature", "spec.credential")
	})
	t.Run("with the workload identity of the pod", func(t *testing.T) {
		metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Metadata-Flavor", "Google")
			if strings.HasSuffix(r.URL.Path, "/token") {
				fmt.Fprint(w, `{"access_token":"token-of-google","token_type":"Bearer","expires_in":3600}`)
			}
		}))
		t.Cleanup(metadata.Close)
		w := newGCS(t, "workload")
		w.env["GCE_METADATA_HOST"] = strings.TrimPrefix(metadata.URL, "http://")
		w.env["NO_PROXY"] = "127.0.0.1"
		w.cycle()
	})
}
