// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Command csi is a CSI driver for the node of the test cluster. Its volumes are directories, which it bind-mounts to
// the kubelet's target paths. For the kubelet, it is like any other driver: the content of a volume is in the directory
// "mount" of the kubelet's directory for the volume. The driver also provisions volumes for claims, like the sidecars
// of other drivers. The Go module proxy has neither these sidecars nor the common test driver.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// driverName is the provisioner of storage classes and the driver of PersistentVolumes.
const driverName = "csi.velero-restic.test"

func main() {
	kubelet := flag.String("kubelet", "/var/lib/kubelet", "root directory of the kubelet")
	folder := flag.String("volumes", "", "directory of the volumes")
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig of an administrator")
	node := flag.String("node", "", "name of the node")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubelet, *folder, *kubeconfig, *node); err != nil {
		fmt.Fprintln(os.Stderr, "csi:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kubelet, folder, kubeconfig, node string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("creating the directory of volumes: %w", err)
	}
	provider, err := newProvisioner(kubeconfig, folder)
	if err != nil {
		return err
	}
	if err := provider.createDriver(ctx); err != nil {
		return err
	}
	driver, endpoint := grpc.NewServer(), filepath.Join(kubelet, "plugins", driverName, "csi.sock")
	csi.RegisterIdentityServer(driver, identity{})
	csi.RegisterNodeServer(driver, &nodeServer{node: node, folder: folder})
	register := grpc.NewServer()
	registration.RegisterRegistrationServer(register, registrar{endpoint: endpoint})

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serve(ctx, driver, endpoint) })
	group.Go(func() error {
		return serve(ctx, register, filepath.Join(kubelet, "plugins_registry", driverName+"-reg.sock"))
	})
	group.Go(func() error { return provider.run(ctx) })
	return group.Wait()
}

// serve serves on a socket until the context ends.
func serve(ctx context.Context, server *grpc.Server, socket string) error {
	if err := os.MkdirAll(filepath.Dir(socket), 0o750); err != nil {
		return fmt.Errorf("creating the directory of a socket: %w", err)
	}
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("removing an old socket: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	if err := server.Serve(listener); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serving %s: %w", socket, err)
	}
	return nil
}

// registrar registers the driver's socket with the kubelet.
type registrar struct{ endpoint string }

// GetInfo implements the kubelet's plugin registration.
func (r registrar) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type: registration.CSIPlugin, Name: driverName, Endpoint: r.endpoint, SupportedVersions: []string{"1.0.0"},
	}, nil
}

// NotifyRegistrationStatus implements the kubelet's plugin registration.
func (registrar) NotifyRegistrationStatus(
	_ context.Context, status *registration.RegistrationStatus,
) (*registration.RegistrationStatusResponse, error) {
	if !status.PluginRegistered {
		fmt.Fprintln(os.Stderr, "csi: the kubelet rejects the driver:", status.Error)
	}
	return &registration.RegistrationStatusResponse{}, nil
}
