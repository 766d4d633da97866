// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package storage

import (
	"testing"
)

const (
	accessKey = "AKIATESTACCESS"
	secretKey = "very/secret+key"
	region    = "eu-west-1"
)

const awsCredential = "[default]\naws_access_key_id=" + accessKey + "\naws_secret_access_key=" + secretKey + "\n" +
	"[wrong]\naws_access_key_id=" + accessKey + "\naws_secret_access_key=another-key\n"

// gateway starts an S3 gateway with an empty bucket `bucket`, and returns its address.
func gateway(t *testing.T, args ...string) string {
	t.Helper()
	address := freeAddress(t)
	root := t.TempDir()
	makeFolder(t, root, "bucket")
	start(t, address, []string{"ROOT_ACCESS_KEY=" + accessKey, "ROOT_SECRET_KEY=" + secretKey}, suite.gateway,
		append(append([]string{"--port", address, "--region", region, "--quiet"}, args...), "posix", root)...)
	return address
}

func TestS3(t *testing.T) {
	t.Parallel()
	address := gateway(t)
	newS3 := func(t *testing.T, config map[string]string) *world {
		config["s3Url"] = url("http", address)
		w := newWorld(t, bucket("aws", "bucket", config))
		w.credential(awsCredential, secretKey, "another-key")
		return w
	}
	t.Run("with keys and a region", func(t *testing.T) {
		newS3(t, map[string]string{"region": region}).cycle()
	})
	t.Run("by path, in a folder", func(t *testing.T) {
		w := newS3(t, map[string]string{"region": region, "s3ForcePathStyle": "true"})
		w.location.Spec.ObjectStorage.Prefix = "some/folder"
		w.cycle()
	})
	t.Run("with the region looked up", func(t *testing.T) {
		w := newS3(t, map[string]string{})
		w.location.Spec.ObjectStorage.Prefix = "looked-up"
		w.cycle()
	})
	t.Run("with a wrong key", func(t *testing.T) {
		newS3(t, map[string]string{"region": region, "profile": "wrong"}).
			refused("Access Denied", "spec.credential")
	})
	t.Run("with a bucket that is not there, and may not be made", func(t *testing.T) {
		w := newS3(t, map[string]string{"region": region})
		w.location.Spec.ObjectStorage.Bucket = "other"
		w.location.Spec.AccessMode = "ReadOnly"
		w.refused("there is no repository at", "read-only")
	})
}

func TestS3ThatIsDown(t *testing.T) {
	t.Parallel()
	for name, address := range map[string]string{"nobody listens": freeAddress(t), "nobody answers": silence(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, bucket("aws", "bucket", map[string]string{"s3Url": url("http", address), "region": region}))
			w.credential(awsCredential, secretKey)
			w.refused("opening the repository", "may the agents' nodes reach it")
		})
	}
}

func TestS3WithAPrivateAuthority(t *testing.T) {
	t.Parallel()
	cert, key_ := certificate(t)
	address := gateway(t, "--cert", cert, "--key", key_)
	newTLS := func(t *testing.T) *world {
		w := newWorld(t, bucket("aws", "bucket", map[string]string{"s3Url": url("https", address), "region": region}))
		w.credential(awsCredential, secretKey)
		return w
	}
	t.Run("in caCert", func(t *testing.T) {
		w := newTLS(t)
		w.location.Spec.ObjectStorage.CACert = suite.authority.PEM
		w.cycle()
	})
	t.Run("in caCertRef", func(t *testing.T) {
		w := newTLS(t)
		w.secrets["authority"] = map[string]string{"ca.crt": string(suite.authority.PEM)}
		w.location.Spec.ObjectStorage.CACertRef = key("authority", "ca.crt")
		w.cycle()
	})
	t.Run("that is not checked", func(t *testing.T) {
		w := newTLS(t)
		w.location.Spec.Config["insecureSkipTLSVerify"] = "true"
		w.cycle()
	})
	t.Run("that nobody has named", func(t *testing.T) {
		newTLS(t).refused("certificate signed by unknown authority", "caCertRef")
	})
}
