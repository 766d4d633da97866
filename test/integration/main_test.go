// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package integration tests the project's binaries against a real API server with the real custom resources.
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

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/plugin/framework"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/host"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
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
	if err := prepareAssets(context.Background()); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "integration-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	environment, err := newEnvironment()
	if err != nil {
		return 0, err
	}
	config, err := environment.Start()
	if err != nil {
		return 0, fmt.Errorf("starting the API server: %w", err)
	}
	defer func() { err = errors.Join(err, environment.Stop()) }()
	if shared, err = newServer(dir, config, environment); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// prepareAssets tells envtest of the API server and etcd that the test cluster uses, and has them installed first.
func prepareAssets(ctx context.Context) error {
	if err := host.Prepare(ctx, os.Stdout); err != nil {
		return err
	}
	etcd, err := host.Program("etcd")
	if err != nil {
		return err
	}
	cache, err := part.Find(ctx)
	if err != nil {
		return err
	}
	const apiServer = "kube-apiserver"
	if err := cache.Build(ctx, os.Stdout, apiServer); err != nil {
		return err
	}
	binary, err := cache.Binary(apiServer)
	if err != nil {
		return err
	}
	return errors.Join(os.Setenv("TEST_ASSET_ETCD", etcd), os.Setenv("TEST_ASSET_KUBE_APISERVER", binary))
}

// newEnvironment returns an API server with our custom resources and Velero's.
func newEnvironment() (*envtest.Environment, error) {
	velero, err := command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/vmware-tanzu/velero")
	if err != nil {
		return nil, err
	}
	return &envtest.Environment{
		CRDDirectoryPaths: []string{
			filepath.Join("..", "..", "examples", "base", "crds"),
			filepath.Join(velero, "config", "crd", "v1", "bases"),
		},
		ErrorIfCRDPathMissing: true,
	}, nil
}

// newServer builds the binaries and writes what they find the API server by.
func newServer(dir string, config *rest.Config, environment *envtest.Environment) (server, error) {
	s := server{
		config: config, plugin: filepath.Join(dir, "velero-plugin-for-restic"), kubeconfig: filepath.Join(dir, "kubeconfig"),
	}
	user, err := environment.AddUser(envtest.User{Name: "velero", Groups: []string{"system:masters"}}, config)
	if err != nil {
		return s, fmt.Errorf("making Velero's user: %w", err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return s, fmt.Errorf("making Velero's kubeconfig: %w", err)
	}
	if err := os.WriteFile(s.kubeconfig, kubeconfig, 0o600); err != nil {
		return s, err
	}
	if _, err := command("go", "build", "-o", s.plugin, "../../plugins"); err != nil {
		return s, err
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, velerov1.AddToScheme, resticv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return s, err
		}
	}
	s.client, err = client.New(config, client.Options{Scheme: scheme})
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
