// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package storage

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The account's key is base64 of 32 bytes, as Azure's are.
const (
	azureKey   = "dGVzdC1rZXktb2YtdGhlLWFjY291bnQtMzItYnl0ZXM="
	azureOther = "b3RoZXIta2V5LW9mLXRoZS1hY2NvdW50LTMyLWJ5dGU="
)

// withoutEmptyTier takes out a header that restic sends empty, which Azure takes for none and the test's server for a
// mistake. Headers are signed: a request whose signature is good gets the one without that header, and no other does.
func withoutEmptyTier(next http.Handler) http.Handler {
	const tier = "X-Ms-Access-Tier"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if values, found := r.Header[tier]; found && values[0] == "" &&
			r.Header.Get("Authorization") == "SharedKey acct:"+azureSignature(r) {
			delete(r.Header, tier)
			r.Header.Set("Authorization", "SharedKey acct:"+azureSignature(r))
		}
		next.ServeHTTP(w, r)
	})
}

// azureSignature signs a request with the account's key
// (https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key).
func azureSignature(r *http.Request) string {
	length := ""
	if r.ContentLength > 0 {
		length = strconv.FormatInt(r.ContentLength, 10)
	}
	header := r.Header.Get
	lines := []string{
		r.Method, header("Content-Encoding"), header("Content-Language"), length, header("Content-Md5"),
		header("Content-Type"), header("Date"), header("If-Modified-Since"), header("If-Match"),
		header("If-None-Match"), header("If-Unmodified-Since"), header("Range"),
	}
	var own []string
	for name, values := range r.Header {
		if name := strings.ToLower(name); strings.HasPrefix(name, "x-ms-") {
			own = append(own, name+":"+strings.Join(values, ","))
		}
	}
	slices.Sort(own)
	lines = append(append(lines, own...), "/acct"+r.URL.EscapedPath())
	for _, name := range slices.Sorted(maps.Keys(r.URL.Query())) {
		lines = append(lines, strings.ToLower(name)+":"+strings.Join(r.URL.Query()[name], ","))
	}
	key, err := base64.StdEncoding.DecodeString(azureKey)
	if err != nil {
		panic(err) // it is a constant
	}
	signature := hmac.New(sha256.New, key)
	signature.Write([]byte(strings.Join(lines, "\n")))
	return base64.StdEncoding.EncodeToString(signature.Sum(nil))
}

// TestAzure uses the addresses of Azure, behind which is a server with the interface of its storage.
func TestAzure(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	start(t, address, []string{"AZURITE_ACCOUNTS=acct:" + azureKey}, suite.node, suite.azurite, "--silent",
		"--disableTelemetry", "--skipApiVersionCheck", "--location", t.TempDir(),
		"--blobHost", "127.0.0.1", "--blobPort", port(t, address))
	f := newFront(t, map[string]http.Handler{
		"acct.blob.core.windows.net":       withoutEmptyTier(toServer(address)),
		"acct.blob.core.usgovcloudapi.net": withoutEmptyTier(toServer(address)),
	})
	newAzure := func(t *testing.T, prefix, credential string) *world {
		w := newWorld(t, bucket("azure", "container", map[string]string{
			"storageAccount": "acct", "storageAccountKeyEnvVar": "AZURE_STORAGE_ACCOUNT_ACCESS_KEY",
		}))
		w.location.Spec.ObjectStorage.Prefix = prefix
		w.credential(credential, azureKey, azureOther)
		w.behind(f)
		return w
	}
	// As somebody has made it for Velero. Only `restic init` makes one.
	setup := newAzure(t, "setup", "AZURE_STORAGE_ACCOUNT_ACCESS_KEY="+azureKey+"\n")
	ctx, cancel := context.WithTimeout(t.Context(), stepLimit)
	defer cancel()
	opened, err := setup.mover().Opener.Open(ctx, "default", "shop")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(opened.Init(ctx), opened.Close()); err != nil {
		t.Fatal(err)
	}
	t.Run("with the account's key", func(t *testing.T) {
		newAzure(t, "key", "AZURE_STORAGE_ACCOUNT_ACCESS_KEY="+azureKey+"\nAZURE_CLOUD_NAME=AzurePublicCloud\n").cycle()
	})
	t.Run("in another cloud", func(t *testing.T) {
		newAzure(t, "other", "AZURE_STORAGE_ACCOUNT_ACCESS_KEY="+azureKey+"\nAZURE_CLOUD_NAME=AzureUSGovernmentCloud\n").
			cycle()
		if !f.asked("acct.blob.core.usgovcloudapi.net") {
			t.Errorf("restic went to %v", f.hosts)
		}
	})
	t.Run("with a container that is not there", func(t *testing.T) {
		w := newAzure(t, "nowhere", "AZURE_STORAGE_ACCOUNT_ACCESS_KEY="+azureKey+"\n")
		w.location.Spec.ObjectStorage.Bucket = "other"
		w.refused("ContainerNotFound", "make the container")
	})
	t.Run("with another key", func(t *testing.T) {
		newAzure(t, "refused", "AZURE_STORAGE_ACCOUNT_ACCESS_KEY="+azureOther+"\n").refused("spec.credential")
	})
}
