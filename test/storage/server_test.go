// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package storage

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// startLimit is how long a server may take until it listens; the slowest is a program of Node.js on a busy machine.
const startLimit = time.Minute

// freeAddress is one of the loopback device that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

func port(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// server is a program that listens.
type server struct {
	t       *testing.T
	process *exec.Cmd
	ended   chan struct{}
}

// start starts a program and waits until it listens. It ends with the test, by the number of its process.
func start(t *testing.T, address string, env []string, program string, args ...string) *server {
	t.Helper()
	var said bytes.Buffer
	s := &server{t: t, process: exec.CommandContext(context.WithoutCancel(t.Context()), program, args...)}
	s.process.Env, s.process.Stdout, s.process.Stderr = append([]string{"HOME=" + t.TempDir()}, env...), &said, &said
	// A test that is killed takes its servers along.
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func() {
		defer close(s.ended)
		_ = s.process.Wait() // how it ends is of no interest, only what it said
	}()
	t.Cleanup(s.stop)
	for deadline := time.Now().Add(startLimit); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = conn.Close()
			return s
		}
		select {
		case <-s.ended:
			t.Fatalf("%s ended at once: %s", program, said.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not listen on %s: %v", program, address, err)
		}
	}
}

func (s *server) stop() {
	_ = s.process.Process.Kill() // an error says that it is gone already
	<-s.ended
}

// certificate writes a certificate of the private authority for 127.0.0.1, and returns the paths of it and of its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	pair, err := suite.authority.Server("server", []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "server")
	if err := pair.Write(path); err != nil {
		t.Fatal(err)
	}
	return path + ".crt", path + ".key"
}

// silence is an address that takes connections and never says anything.
func silence(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener.Addr().String()
}

func writeFile(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func makeFolder(t *testing.T, path ...string) string {
	t.Helper()
	folder := filepath.Join(path...)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return folder
}

func url(scheme, address string) string { return fmt.Sprintf("%s://%s", scheme, address) }
