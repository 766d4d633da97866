// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package storage

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
)

// keyPair makes a key as people do.
func keyPair(t *testing.T, kind string) (private, public string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if said, err := exec.Command("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, said)
	}
	var content [2]string
	for i, name := range []string{path, path + ".pub"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		content[i] = string(data)
	}
	return content[0], content[1]
}

// sshd starts OpenSSH's server with keys of every kind, which lets this user in with a key, and returns its address.
func sshd(t *testing.T, authorized string) string {
	t.Helper()
	dir := t.TempDir()
	address := freeAddress(t)
	var lines []string
	for _, kind := range []string{"rsa", "ecdsa", "ed25519"} {
		private, _ := keyPair(t, kind)
		path := filepath.Join(dir, "host_"+kind)
		if err := os.WriteFile(path, []byte(private), 0o600); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, "HostKey "+path)
	}
	lines = append(lines, "ListenAddress "+address, "PidFile none", "AuthorizedKeysFile "+writeFile(t, authorized),
		"StrictModes no", "UsePAM no", "PasswordAuthentication no", "PermitRootLogin prohibit-password",
		"Subsystem sftp internal-sftp")
	config := writeFile(t, strings.Join(lines, "\n")+"\n")
	makeFolder(t, "/run/sshd") // where the server shuts itself in before it has let anybody in
	start(t, address, nil, suite.sshd, "-D", "-e", "-f", config)
	return address
}

// scan asks the server for its keys of a kind, as the documentation has it done.
func scan(t *testing.T, address, kind string) string {
	t.Helper()
	out, err := exec.Command("ssh-keyscan", "-t", kind, "-p", port(t, address), "127.0.0.1").Output()
	if err != nil || len(out) == 0 {
		t.Fatalf("ssh-keyscan: %v: %s", err, out)
	}
	return string(out)
}

func TestSFTP(t *testing.T) {
	t.Parallel()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	private, public := keyPair(t, "ed25519")
	address := sshd(t, public)
	newSFTP := func(t *testing.T, known string) *world {
		folder := makeFolder(t, t.TempDir(), "my repository") // sftp:// takes an absolute path after two slashes
		w := newWorld(t, elsewhere(fmt.Sprintf("sftp://%s@%s/%s", me.Username, address, folder)))
		w.extra(map[string]string{"ssh-privatekey": private, "known_hosts": known})
		w.private = append(w.private, "PRIVATE KEY", private)
		return w
	}
	for _, kind := range []string{"rsa", "ecdsa", "ed25519"} {
		t.Run("with the server's key of kind "+kind, func(t *testing.T) {
			newSFTP(t, scan(t, address, kind)).cycle()
		})
	}
	t.Run("with a key of the old kind", func(t *testing.T) {
		old, oldPublic := keyPair(t, "rsa")
		server := sshd(t, oldPublic)
		w := newWorld(t, elsewhere(fmt.Sprintf("sftp://%s@%s/%s", me.Username, server, t.TempDir())))
		w.extra(map[string]string{"ssh-privatekey": old, "known_hosts": scan(t, server, "rsa,ecdsa,ed25519")})
		w.cycle()
	})
	t.Run("with a server that nobody knows", func(t *testing.T) {
		newSFTP(t, "# nothing\n").refused("known_hosts has no key for SFTP server "+address, "ssh-keyscan -p")
	})
	t.Run("with a server that has another key", func(t *testing.T) {
		_, other := keyPair(t, "ed25519")
		newSFTP(t, fmt.Sprintf("[127.0.0.1]:%s %s", port(t, address), other)).refused("is not the one in known_hosts")
	})
	t.Run("with a key that the server does not know", func(t *testing.T) {
		w := newSFTP(t, scan(t, address, "ed25519"))
		w.secrets["extra"]["ssh-privatekey"], _ = keyPair(t, "ed25519")
		w.refused("does not let user "+me.Username+" in", "authorized_keys")
	})
	t.Run("without a key", func(t *testing.T) {
		w := newSFTP(t, "x")
		delete(w.secrets["extra"], "ssh-privatekey")
		w.refused("ssh-privatekey", "resticEnvSecret")
	})
	t.Run("that is down", func(t *testing.T) {
		w := newSFTP(t, scan(t, address, "ed25519"))
		w.location.Spec.Config["resticRepoPrefix"] = "sftp://u@" + freeAddress(t) + "//srv"
		w.refused("connection refused", "is the server up")
	})
	t.Run("that does not answer", func(t *testing.T) {
		w := newSFTP(t, scan(t, address, "ed25519"))
		w.location.Spec.Config["resticRepoPrefix"] = "sftp://u@" + silence(t) + "//srv"
		w.refused("did not open within", "is the server up")
	})
}
