// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package storage

import (
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

const (
	restUser     = "velero"
	restPassword = "rest-pass:word"
)

// restServer starts restic's own server with one user, and returns its address.
func restServer(t *testing.T, args ...string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(restPassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	address := freeAddress(t)
	start(t, address, nil, suite.restServer, append([]string{
		"--listen", address, "--path", t.TempDir(), "--htpasswd-file", writeFile(t, restUser+":"+string(hash)+"\n"),
	}, args...)...)
	return address
}

func restLogin(password string) map[string]string {
	return map[string]string{"RESTIC_REST_USERNAME": restUser, "RESTIC_REST_PASSWORD": password}
}

func TestREST(t *testing.T) {
	t.Parallel()
	address := restServer(t)
	prefix := "rest:" + url("http", address)
	t.Run("with user and password in a Secret", func(t *testing.T) {
		w := newWorld(t, elsewhere(prefix+"/secret/"))
		w.extra(restLogin(restPassword))
		w.cycle()
	})
	t.Run("with user and password in the URL", func(t *testing.T) {
		w := newWorld(t, elsewhere(strings.Replace(prefix, "://", "://"+restUser+":rest-pass%3Aword@", 1)))
		w.cycle()
	})
	t.Run("with a wrong password", func(t *testing.T) {
		w := newWorld(t, elsewhere(prefix+"/secret/"))
		w.extra(restLogin("wrong-password"))
		w.private = append(w.private, "wrong-password")
		w.refused("401", "RESTIC_REST_PASSWORD")
	})
	t.Run("with a wrong password in the URL", func(t *testing.T) {
		w := newWorld(t, elsewhere(strings.Replace(prefix, "://", "://"+restUser+":wrong-password@", 1)))
		w.private = append(w.private, "wrong-password")
		w.refused("401", "RESTIC_REST_PASSWORD")
	})
	t.Run("without user", func(t *testing.T) {
		newWorld(t, elsewhere(prefix)).refused("401", "RESTIC_REST_USERNAME")
	})
	t.Run("that is down", func(t *testing.T) {
		newWorld(t, elsewhere("rest:"+url("http", freeAddress(t)))).refused("connection refused", "is the server up")
	})
}

func TestRESTWithAPrivateAuthority(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t)
	prefix := "rest:" + url("https", restServer(t, "--tls", "--tls-cert", cert, "--tls-key", key))
	t.Run("in caCert", func(t *testing.T) {
		w := newWorld(t, elsewhere(prefix))
		w.extra(restLogin(restPassword))
		w.location.Spec.ObjectStorage.CACert = suite.authority.PEM
		w.cycle()
	})
	t.Run("that nobody has named", func(t *testing.T) {
		w := newWorld(t, elsewhere(prefix))
		w.extra(restLogin(restPassword))
		w.refused("certificate signed by unknown authority", "caCertRef")
	})
}
