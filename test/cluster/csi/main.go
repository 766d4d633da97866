// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Command csi is a CSI driver for the one node of the test cluster: its volumes are folders that it binds to where the
// kubelet wants them. The kubelet treats it as any driver, so that a volume's content is in the folder "mount" of the
// kubelet's directory for it. It provides volumes for claims too, as the sidecars of other drivers do: neither these
// nor the usual test driver can be had from the Go module proxy.
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
	folder := flag.String("volumes", "", "folder for the volumes")
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
		return fmt.Errorf("making the folder of volumes: %w", err)
	}
	provider, err := newProvisioner(kubeconfig, folder)
	if err != nil {
		return err
	}
	if err := provider.announce(ctx); err != nil {
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
	group.Go(func() error { return provider.work(ctx) })
	return group.Wait()
}

// serve answers on a socket until the context ends.
func serve(ctx context.Context, server *grpc.Server, socket string) error {
	if err := os.MkdirAll(filepath.Dir(socket), 0o750); err != nil {
		return fmt.Errorf("making the folder of a socket: %w", err)
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

// registrar tells the kubelet where the driver is.
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
		fmt.Fprintln(os.Stderr, "csi: the kubelet refuses the driver:", status.Error)
	}
	return &registration.RegistrationStatusResponse{}, nil
}
