// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/velero-restic/velero-plugin-for-restic/agent/agenttest"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/restictest"
	"github.com/velero-restic/velero-plugin-for-restic/internal/version"
)

// asAgent has the test binary run as the agent.
const asAgent = "TEST_RUN_AS_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(asAgent) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process is an agent of its own process, on node-1.
type process struct {
	t        *testing.T
	command  *exec.Cmd
	log      bytes.Buffer // to be read when the process has ended
	health   string       // URL
	hostPods string
}

// startProcess starts an agent in a cluster that has a pod on each of two nodes.
func startProcess(t *testing.T, flags ...string) *process {
	t.Helper()
	config := agenttest.NewAPIServer(t, newScheme(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: "cluster-1"}},
		podOn("node-1", "web"), podOn("node-2", "db"))
	dir := t.TempDir()
	p := &process{t: t, hostPods: filepath.Join(dir, "pods"), health: freeAddress(t)}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	write(t, kubeconfig, 0o600, fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c",
"clusters":[{"name":"c","cluster":{"server":%q}}],"contexts":[{"name":"c","context":{"cluster":"c"}}]}`, config.Host))
	if err := os.Mkdir(p.hostPods, 0o700); err != nil {
		t.Fatal(err)
	}
	p.command = exec.CommandContext(t.Context(), os.Args[0], append([]string{
		"--host-pods=" + p.hostPods, "--restic=" + restictest.Binary(t), "--health-address=" + p.health,
		"--metrics-address=0",
	}, flags...)...)
	p.command.Env = []string{
		asAgent + "=1", "KUBECONFIG=" + kubeconfig, "NODE_NAME=node-1", "POD_NAME=restic-1", "VELERO_NAMESPACE=velero",
		"VELERO_SCRATCH_DIR=" + filepath.Join(dir, "scratch"), "PATH=" + os.Getenv("PATH"),
	}
	p.command.Stdout, p.command.Stderr = &p.log, &p.log
	if err := p.command.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

func podOn(node, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID("uid-of-" + name)},
		Spec:       corev1.PodSpec{NodeName: node}, Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
}

func write(t *testing.T, path string, mode os.FileMode, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// resticScript returns a program that claims to be restic of a version.
func resticScript(t *testing.T, version string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "restic")
	write(t, path, 0o700, fmt.Sprintf("#!/bin/sh\necho '{\"message_type\":\"version\",\"version\":\"%s\"}'\n", version))
	return path
}

// freeAddress returns an address of this machine that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// waitReadiness asks the readiness probe until its answer has the text.
func (p *process) waitReadiness(text string) {
	p.t.Helper()
	last := ""
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		response, err := http.Get("http://" + p.health + "/readyz?verbose")
		if err != nil {
			last = err.Error()
			continue
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if last = fmt.Sprintf("%d %s %v", response.StatusCode, body, err); strings.Contains(last, text) {
			return
		}
	}
	p.t.Fatalf("the readiness probe answers\n%s\nwant %q", last, text)
}

// stop ends the agent as the kubelet does, and returns its log.
func (p *process) stop() string {
	p.t.Helper()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := p.command.Wait(); err != nil {
		p.t.Errorf("the agent ended with %v", err)
	}
	return p.log.String()
}

// TestProcessIsReady has the agent wait for its caches and for the kubelet's directory of pods.
func TestProcessIsReady(t *testing.T) {
	t.Parallel()
	p := startProcess(t)
	write(t, filepath.Join(p.hostPods, "a-file"), 0o600, "")
	p.waitReadiness("[+]caches ok\n[-]host-pods failed")
	if err := os.Mkdir(filepath.Join(p.hostPods, "uid-of-web"), 0o700); err != nil {
		t.Fatal(err)
	}
	p.waitReadiness("200")
	p.stop()
}

// TestProcessLogs asks for each format, and for more and fewer lines.
func TestProcessLogs(t *testing.T) {
	for name, test := range map[string]struct {
		flags      []string
		json, info bool
	}{
		"text for people by default": {info: true},
		"JSON":                       {flags: []string{"--log-format=json"}, json: true, info: true},
		"errors alone":               {flags: []string{"--log-format=json", "--log-level=error"}, json: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProcess(t, test.flags...)
			p.waitReadiness("[+]caches ok")
			log := p.stop()
			if info := strings.Contains(log, "Starting"); info != test.info {
				t.Errorf("the log has lines of level info: %t, want %t\n%s", info, test.info, log)
			}
			for line := range strings.Lines(log) {
				if json.Valid([]byte(line)) != test.json {
					t.Errorf("the line is JSON: %t, want %t: %s", !test.json, test.json, line)
				}
			}
		})
	}
}

// TestProcessRefuses has agents that must not start.
func TestProcessRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		flags []string
		want  []string
	}{
		"a folder of pods that is missing": {
			flags: []string{"--host-pods=/nowhere"}, want: []string{"--host-pods", "/nowhere"},
		},
		"another version of restic": {
			flags: []string{"--restic=" + resticScript(t, "0.18.0")}, want: []string{"0.18.0", version.Restic, "--restic"},
		},
		"an argument": {flags: []string{"now"}, want: []string{`"now"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProcess(t, test.flags...)
			timer := time.AfterFunc(20*time.Second, func() { _ = p.command.Process.Kill() })
			defer timer.Stop()
			_ = p.command.Wait() // the exit code is below
			if code := p.command.ProcessState.ExitCode(); code != 1 {
				t.Errorf("it ended with %v, want exit code 1", p.command.ProcessState)
			}
			for _, part := range test.want {
				if !strings.Contains(p.log.String(), part) {
					t.Errorf("the message does not say %s:\n%s", part, p.log.String())
				}
			}
		})
	}
}
