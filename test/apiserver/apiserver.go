// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package apiserver starts a real API server with its etcd and with the custom resources of the project and of Velero,
// for tests that need no node. It uses the programs of the test cluster.
package apiserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/host"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
)

// Server is a running API server.
type Server struct {
	// Config is the configuration of an administrator, whom API priority and fairness does not throttle.
	Config      *rest.Config
	environment *envtest.Environment
	data        string
}

// Start starts an API server. Before that, it installs and builds what the server needs, and prints the progress to
// out. The parameter resources has paths of additional custom resource definitions. The caller must stop the server. It
// fails if a program is missing, or if the server does not start.
func Start(ctx context.Context, out io.Writer, resources ...string) (*Server, error) {
	cache, err := part.Find(ctx)
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, cache, out); err != nil {
		return nil, err
	}
	s := &Server{}
	if s.environment, err = environment(ctx, cache); err != nil {
		return nil, err
	}
	s.environment.CRDDirectoryPaths = append(s.environment.CRDDirectoryPaths, resources...)
	if s.data, err = os.MkdirTemp(memoryFolder(), "etcd-"); err != nil {
		return nil, err
	}
	s.environment.ControlPlane.Etcd = &envtest.Etcd{DataDir: s.data}
	if s.Config, err = s.environment.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the API server: %w", err), s.Stop())
	}
	return s, nil
}

// Stop stops the API server and removes its data.
func (s *Server) Stop() error {
	return errors.Join(s.environment.Stop(), os.RemoveAll(s.data))
}

// Kubeconfig returns a kubeconfig for an administrator with this name.
func (s *Server) Kubeconfig(name string) ([]byte, error) {
	user, err := s.environment.AddUser(envtest.User{Name: name, Groups: []string{"system:masters"}}, s.Config)
	if err != nil {
		return nil, fmt.Errorf("creating user %s: %w", name, err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return nil, fmt.Errorf("creating the kubeconfig of user %s: %w", name, err)
	}
	return kubeconfig, nil
}

// Scheme returns a scheme with the kinds that the tests use.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, velerov1.AddToScheme, resticv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return scheme, nil
}

// prepare installs the API server and etcd of the test cluster, and makes envtest use them.
func prepare(ctx context.Context, cache part.Cache, out io.Writer) error {
	if err := host.Prepare(ctx, out); err != nil {
		return err
	}
	etcd, err := host.Program("etcd")
	if err != nil {
		return err
	}
	const apiServer = "kube-apiserver"
	if err := cache.Build(ctx, out, apiServer); err != nil {
		return err
	}
	binary, err := cache.Binary(apiServer)
	if err != nil {
		return err
	}
	return errors.Join(os.Setenv("TEST_ASSET_ETCD", etcd), os.Setenv("TEST_ASSET_KUBE_APISERVER", binary))
}

// environment returns an environment with the custom resource definitions of the project and of Velero.
func environment(ctx context.Context, cache part.Cache) (*envtest.Environment, error) {
	var stderr bytes.Buffer
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/vmware-tanzu/velero")
	list.Dir, list.Stderr = cache.Repository, &stderr
	velero, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("finding the custom resource definitions of Velero: %w: %s", err, stderr.String())
	}
	return &envtest.Environment{
		CRDDirectoryPaths: []string{
			filepath.Join(cache.Repository, "examples", "base", "crds"),
			filepath.Join(string(bytes.TrimSpace(velero)), "config", "crd", "v1", "bases"),
		},
		ErrorIfCRDPathMissing: true,
	}, nil
}

// memoryFolder returns a directory in memory, where etcd does not wait for a disk at each write. It returns an empty
// string, which means the directory for temporary files, if no such directory has enough space.
func memoryFolder() string {
	const folder, room = "/dev/shm", 4 << 30
	var stat syscall.Statfs_t
	if err := syscall.Statfs(folder, &stat); err != nil || stat.Bavail*uint64(stat.Bsize) < room {
		return ""
	}
	return folder
}
