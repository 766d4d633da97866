// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package sftp_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/velero-restic/velero-plugin-for-restic/agent/sftp"
)

// sshServer lets one key of user restic in, and has a subsystem of the given name that sends back what it gets.
type sshServer struct {
	t         *testing.T
	address   string
	host      ssh.Signer
	subsystem string
}

func signer(t *testing.T, key crypto.Signer) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serve(t *testing.T, user ssh.PublicKey, subsystem string) *sshServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	s := &sshServer{t: t, address: listener.Addr().String(), host: signer(t, newKey(t)), subsystem: subsystem}
	config := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if c.User() == "restic" && bytes.Equal(key.Marshal(), user.Marshal()) {
			return nil, nil
		}
		return nil, errors.New("not this one")
	}}
	config.AddHostKey(s.host)
	// The kind that a client without other wishes asks for first, and that known_hosts does not have.
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	config.AddHostKey(signer(t, other))
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.answer(conn, config)
		}
	}()
	return s
}

func (s *sshServer) answer(conn net.Conn, config *ssh.ServerConfig) {
	defer func() { _ = conn.Close() }()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return // the client does not like this server, or the other way round
	}
	go ssh.DiscardRequests(requests)
	for wanted := range channels {
		channel, requests, err := wanted.Accept()
		if err != nil {
			return
		}
		for request := range requests {
			good := request.Type == "subsystem" && string(request.Payload[4:]) == s.subsystem
			_ = request.Reply(good, nil)
			if good {
				go func() {
					_, _ = io.Copy(channel, channel)
					_, _ = channel.SendRequest("exit-status", false, []byte{0, 0, 0, 0})
					_ = channel.Close()
				}()
			}
		}
	}
}

// knownHosts is the line for a key of the server.
func (s *sshServer) knownHosts(key ssh.PublicKey) string {
	return knownhosts.Line([]string{s.address}, key) + "\n"
}

// client has its files in a folder of the test.
func (s *sshServer) client(identity []byte, known string) sftp.Server {
	s.t.Helper()
	dir := s.t.TempDir()
	host, port, err := net.SplitHostPort(s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	server := sftp.Server{
		User: "restic", Host: host, Port: port,
		IdentityFile: filepath.Join(dir, "key"), KnownHostsFile: filepath.Join(dir, "known"),
	}
	for path, content := range map[string]string{server.IdentityFile: string(identity), server.KnownHostsFile: known} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	return server
}

func private(t *testing.T, key crypto.Signer, passphrase string) []byte {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

func TestPipe(t *testing.T) {
	key := newKey(t)
	server := serve(t, signer(t, key).PublicKey(), "sftp")
	client := server.client(private(t, key, ""), server.knownHosts(server.host.PublicKey()))
	var out bytes.Buffer
	sent := strings.Repeat("packet ", 1<<16)
	if err := client.Pipe(t.Context(), strings.NewReader(sent), &out); err != nil {
		t.Fatal(err)
	}
	if out.String() != sent {
		t.Errorf("%d of %d bytes came back", out.Len(), len(sent))
	}
}

func TestPipeIsRefused(t *testing.T) {
	key, other := newKey(t), newKey(t)
	server := serve(t, signer(t, key).PublicKey(), "sftp")
	known := server.knownHosts(server.host.PublicKey())
	shell := serve(t, signer(t, key).PublicKey(), "shell")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := &sshServer{t: t, address: closed.Addr().String()}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		client sftp.Server
		says   []string
	}{
		"a server that known_hosts does not have": {
			server.client(private(t, key, ""), ""), []string{"known_hosts has no key", "ssh-keyscan -p", server.address},
		},
		"a server with another key": {
			server.client(private(t, key, ""), server.knownHosts(signer(t, other).PublicKey())),
			[]string{"is not the one in known_hosts", "ssh-keyscan -p"},
		},
		"a server whose key is revoked": {
			server.client(private(t, key, ""), known+"@revoked * "+
				string(ssh.MarshalAuthorizedKey(server.host.PublicKey()))), []string{"revoked in known_hosts"},
		},
		"a file that is no known_hosts": {
			server.client(private(t, key, ""), "ssh-ed25519 what\n"), []string{"reading known_hosts", "ssh-keyscan"},
		},
		"a key that the server does not know": {
			server.client(private(t, other, ""), known), []string{"does not let user restic in", "authorized_keys"},
		},
		"a key with a passphrase": {
			server.client(private(t, key, "secret"), known), []string{"encrypted with a passphrase", "ssh-keygen"},
		},
		"a key that is none": {server.client([]byte("hello"), known), []string{"reading ssh-privatekey"}},
		"a server without SFTP": {
			shell.client(private(t, key, ""), shell.knownHosts(shell.host.PublicKey())), []string{"no subsystem sftp"},
		},
		"no server": {
			gone.client(private(t, key, ""), known), []string{"connecting to the SFTP server", "connection refused"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			err := c.client.Pipe(t.Context(), strings.NewReader("secret data"), &out)
			if err == nil || out.Len() > 0 {
				t.Fatalf("got %v, and %q came back", err, out.String())
			}
			for _, part := range c.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if strings.Contains(err.Error(), "PRIVATE KEY") {
				t.Errorf("the message has a secret: %v", err)
			}
		})
	}
}

// TestPipeToASilentServer has somebody accept the connection and say nothing.
func TestPipeToASilentServer(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	key := newKey(t)
	silent := &sshServer{t: t, address: listener.Addr().String()}
	client := silent.client(private(t, key, ""), silent.knownHosts(signer(t, key).PublicKey()))
	client.Timeout = 2 * time.Second // it bounds the connection, too, which is slow on a busy machine
	if err := client.Pipe(t.Context(), strings.NewReader(""), io.Discard); err == nil ||
		!strings.Contains(err.Error(), "is that an SSH server?") {
		t.Errorf("got %v", err)
	}
}
