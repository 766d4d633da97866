// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package scale

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/velero-restic/velero-plugin-for-restic/test/apiserver"
)

// shared is set by TestMain, which has no other way to hand it to the tests.
var shared struct {
	config     *rest.Config
	kubeconfig string
	client     client.Client
}

func TestMain(m *testing.M) {
	ctrl.SetLogger(zap.New(zap.WriteTo(os.Stderr)))
	if kubeconfig := os.Getenv(environmentAlone); kubeconfig != "" {
		if err := alone(context.Background(), kubeconfig, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "scale:", err)
			os.Exit(1)
		}
		return
	}
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		code = 1
	}
	os.Exit(code)
}

// run starts the API server, fills it, and returns the tests' exit code.
func run(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "scale-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	api, err := apiserver.Start(context.Background(), os.Stdout)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, api.Stop()) }()
	if err := connect(dir, api); err != nil {
		return 0, err
	}
	begin := time.Now()
	if err := fill(context.Background(), shared.client, api); err != nil {
		return 0, fmt.Errorf("filling the cluster: %w", err)
	}
	fmt.Printf("scale: filled the cluster in %v\n", time.Since(begin).Round(time.Second))
	return m.Run(), nil
}

func connect(dir string, api *apiserver.Server) error {
	shared.config, shared.kubeconfig = api.Config, filepath.Join(dir, "kubeconfig")
	shared.config.QPS = -1
	kubeconfig, err := api.Kubeconfig("scale")
	if err != nil {
		return err
	}
	if err := os.WriteFile(shared.kubeconfig, kubeconfig, 0o600); err != nil {
		return err
	}
	scheme, err := apiserver.Scheme()
	if err != nil {
		return err
	}
	shared.client, err = client.New(shared.config, client.Options{Scheme: scheme})
	return err
}
