// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// removeLeftovers removes the files of this cluster in directories that cannot be configured. A clean stop leaves few
// of them, a crash many.
func (n *Node) removeLeftovers() error {
	for _, remove := range []func() error{n.removeLogLinks, n.removeNetworkResults, n.removeRuntimeState} {
		if err := remove(); err != nil {
			return err
		}
	}
	return nil
}

// removeLogLinks removes the kubelet's links to the logs of this cluster's containers.
func (n *Node) removeLogLinks() error {
	links, err := filepath.Glob("/var/log/containers/*.log")
	if err != nil {
		return fmt.Errorf("listing links to logs: %w", err)
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(target, n.State()+"/") {
			continue
		}
		if err := os.Remove(link); err != nil {
			return fmt.Errorf("removing a link to a log: %w", err)
		}
	}
	return nil
}

// removeNetworkResults removes CNI's result files of each pod: <network>-<sandbox>-<interface>. It reads the names of
// the sandboxes in the directory of the cluster's containerd.
func (n *Node) removeNetworkResults() error {
	sandboxes, err := filepath.Glob(n.path("containerd", "root", "io.containerd.grpc.v1.cri", "sandboxes", "*"))
	if err != nil {
		return fmt.Errorf("listing pods: %w", err)
	}
	for _, sandbox := range sandboxes {
		results, err := filepath.Glob("/var/lib/cni/results/*-" + filepath.Base(sandbox) + "-*")
		if err != nil {
			return fmt.Errorf("listing CNI results of a pod: %w", err)
		}
		for _, result := range results {
			if err := os.Remove(result); err != nil {
				return fmt.Errorf("removing a CNI result of a pod: %w", err)
			}
		}
	}
	return nil
}

// removeRuntimeState removes the sockets of killed shims, and runc's state of their containers. It finds them in the
// cluster's directory, which has a directory for each container with the address of the socket in a file (containerd
// 1.6).
func (n *Node) removeRuntimeState() error {
	const sockets, runc = "/run/containerd/s", "/run/containerd/runc/k8s.io"
	tasks, err := filepath.Glob(n.path("containerd", "state", "io.containerd.runtime.v2.task", "k8s.io", "*"))
	if err != nil {
		return fmt.Errorf("listing containers: %w", err)
	}
	for _, task := range tasks {
		if err := os.RemoveAll(filepath.Join(runc, filepath.Base(task))); err != nil {
			return fmt.Errorf("removing a container's state: %w", err)
		}
		address, err := os.ReadFile(filepath.Join(task, "address"))
		socket := strings.TrimPrefix(strings.TrimSpace(string(address)), "unix://")
		if err != nil || filepath.Dir(socket) != sockets {
			continue
		}
		// The containers of a pod share one shim.
		if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("removing a shim's socket: %w", err)
		}
	}
	return nil
}
