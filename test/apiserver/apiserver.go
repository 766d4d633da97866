// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package apiserver starts a real API server with its etcd, the project's custom resources and Velero's, for tests
// that need no node. Its programs are those of the test cluster.
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
	// Config is an administrator's, whom priority and fairness do not slow down.
	Config      *rest.Config
	environment *envtest.Environment
	data        string
}

// Start starts an API server and installs and builds before what that needs; it tells of that on out. Further custom
// resources are read from files. The caller stops the server.
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
	if s.data, err = os.MkdirTemp(memory(), "etcd-"); err != nil {
		return nil, err
	}
	s.environment.ControlPlane.Etcd = &envtest.Etcd{DataDir: s.data}
	if s.Config, err = s.environment.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the API server: %w", err), s.Stop())
	}
	return s, nil
}

// Stop stops the API server and removes what it kept.
func (s *Server) Stop() error {
	return errors.Join(s.environment.Stop(), os.RemoveAll(s.data))
}

// Kubeconfig returns a kubeconfig of an administrator of this name.
func (s *Server) Kubeconfig(name string) ([]byte, error) {
	user, err := s.environment.AddUser(envtest.User{Name: name, Groups: []string{"system:masters"}}, s.Config)
	if err != nil {
		return nil, fmt.Errorf("making user %s: %w", name, err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return nil, fmt.Errorf("making the kubeconfig of user %s: %w", name, err)
	}
	return kubeconfig, nil
}

// Scheme returns the kinds that the tests use.
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

// prepare tells envtest of the API server and etcd that the test cluster uses, and has them installed first.
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

// environment returns an API server with our custom resources and Velero's.
func environment(ctx context.Context, cache part.Cache) (*envtest.Environment, error) {
	var stderr bytes.Buffer
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/vmware-tanzu/velero")
	list.Dir, list.Stderr = cache.Repository, &stderr
	velero, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("looking for Velero's custom resources: %w: %s", err, stderr.String())
	}
	return &envtest.Environment{
		CRDDirectoryPaths: []string{
			filepath.Join(cache.Repository, "examples", "base", "crds"),
			filepath.Join(string(bytes.TrimSpace(velero)), "config", "crd", "v1", "bases"),
		},
		ErrorIfCRDPathMissing: true,
	}, nil
}

// memory returns a folder that is held in memory, where etcd need not wait for a disk at each write. It is empty, which
// means the folder for temporary files, where there is none with room.
func memory() string {
	const folder, room = "/dev/shm", 4 << 30
	var stat syscall.Statfs_t
	if err := syscall.Statfs(folder, &stat); err != nil || stat.Bavail*uint64(stat.Bsize) < room {
		return ""
	}
	return folder
}
