// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package session_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSandboxPaths has an environment with the paths of a token, of a folder, and of what must stay closed.
func TestSandboxPaths(t *testing.T) {
	c := newCluster(t)
	node := t.TempDir()
	// As the kubelet mounts a projected volume: the file is a link, which it replaces when it renews the token.
	tokens := filepath.Join(node, "tokens")
	programs, volumes, extra := filepath.Join(node, "bin"), filepath.Join(node, "pods"), filepath.Join(node, "extra")
	certificate := filepath.Join(node, "certificate.pem")
	if err := errors.Join(
		os.MkdirAll(filepath.Join(tokens, "..data"), 0o755), os.Mkdir(programs, 0o755), os.Mkdir(volumes, 0o755),
		os.WriteFile(filepath.Join(tokens, "..data", "token"), nil, 0o600),
		os.Symlink("..data/token", filepath.Join(tokens, "token")), os.WriteFile(certificate, nil, 0o600),
		os.WriteFile(filepath.Join(volumes, "key"), nil, 0o600),
	); err != nil {
		t.Fatal(err)
	}
	c.opener.ExtraPaths, c.opener.ClosedPaths = []string{extra}, []string{volumes}
	c.opener.ProcessEnv = map[string]string{
		"PATH": programs + ":/does/not/exist", "AWS_WEB_IDENTITY_TOKEN_FILE": filepath.Join(tokens, "token"),
		"SSL_CERT_FILE": certificate, "AWS_REGION": "/",
	}
	for name, value := range map[string]string{
		"RCLONE_A": filepath.Join(volumes, "key"), "RCLONE_B": volumes, "RCLONE_C": node, "RCLONE_D": "/",
		"RCLONE_E": c.opener.ScratchDir, "RCLONE_F": filepath.Join(c.opener.ScratchDir, "session"),
		"RCLONE_G": "/proc/self/environ", "RCLONE_H": "/dev/mem", "RCLONE_I": "relative", "RCLONE_J": "/var/../proc/1",
	} {
		c.extra.Data[name] = []byte(value)
	}
	opened, err := c.open(t)
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := filepath.Glob(filepath.Join(c.opener.ScratchDir, "session", "*"))
	if err != nil || len(sessions) != 1 {
		t.Fatalf("the sessions are %v, %v", sessions, err)
	}
	c.command(t, opened)
	got := map[string]bool{}
	for _, path := range c.runner.Commands()[0].Paths {
		got[path.Name] = path.Writable
		if path.Untrusted {
			t.Errorf("%s is untrusted", path.Name)
		}
	}
	want := map[string]bool{
		sessions[0]: true, filepath.Join(c.opener.ScratchDir, "cache", "shop-default-e8376fb58db21128f3e9"): true,
		programs: false, tokens: false, certificate: false, extra: false,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the paths in the sandbox (-want +got):\n%s", diff)
	}
	if err := opened.Close(); err != nil {
		t.Error(err)
	}
}
