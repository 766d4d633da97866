// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/vmware-tanzu/velero/pkg/plugin/framework"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/test/apiserver"
)

// server is the API server of all tests. Each test has namespaces of its own in it.
type server struct {
	config     *rest.Config
	kubeconfig string
	plugin     string // path of the plugin's binary
	client     client.Client
}

// shared is set by TestMain, which has no other way to hand it to the tests.
var shared server

func TestMain(m *testing.M) {
	// Velero's code starts os.Args[0] as a plugin. Were that this binary, every start would bring the next API server.
	if os.Getenv(framework.Handshake().MagicCookieKey) != "" {
		fmt.Fprintln(os.Stderr, "integration: started as a plugin of itself: see newVeleroServer")
		os.Exit(1)
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		code = 1
	}
	os.Exit(code)
}

// run starts the API server and builds what is tested, and returns the tests' exit code.
func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "integration-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	api, err := apiserver.Start(context.Background(), os.Stdout)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, api.Stop()) }()
	if shared, err = newServer(dir, api); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// newServer builds the binaries and writes what they find the API server by.
func newServer(dir string, api *apiserver.Server) (server, error) {
	s := server{
		config: api.Config, plugin: filepath.Join(dir, "velero-plugin-for-restic"),
		kubeconfig: filepath.Join(dir, "kubeconfig"),
	}
	kubeconfig, err := api.Kubeconfig("velero")
	if err != nil {
		return s, err
	}
	if err := os.WriteFile(s.kubeconfig, kubeconfig, 0o600); err != nil {
		return s, err
	}
	if _, err := command("go", "build", "-o", s.plugin, "../../plugins"); err != nil {
		return s, err
	}
	scheme, err := apiserver.Scheme()
	if err != nil {
		return s, err
	}
	s.client, err = client.New(s.config, client.Options{Scheme: scheme})
	return s, err
}

// command runs a program and returns the first line that it prints.
func command(name string, arguments ...string) (string, error) {
	var stderr bytes.Buffer
	process := exec.CommandContext(context.Background(), name, arguments...)
	process.Stderr = &stderr
	output, err := process.Output()
	if err != nil {
		return "", fmt.Errorf("running %s %v: %w: %s", name, arguments, err, stderr.String())
	}
	line, _, _ := bytes.Cut(output, []byte("\n"))
	return string(line), nil
}
