// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// removeLeftovers removes the few files that programs of the cluster keep in places which cannot be chosen, as far as
// they are this cluster's. A clean stop leaves few of them, a crash many.
func (n *Node) removeLeftovers() error {
	for _, remove := range []func() error{n.removeLogLinks, n.removeNetworkResults, n.removeRuntimeState} {
		if err := remove(); err != nil {
			return err
		}
	}
	return nil
}

// removeLogLinks removes the kubelet's links to the logs of containers.
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

// removeNetworkResults removes what CNI noted of each pod: <network>-<sandbox>-<interface>. The sandboxes are those
// that containerd lists in the cluster's own folder.
func (n *Node) removeNetworkResults() error {
	sandboxes, err := filepath.Glob(n.path("containerd", "root", "io.containerd.grpc.v1.cri", "sandboxes", "*"))
	if err != nil {
		return fmt.Errorf("listing pods: %w", err)
	}
	for _, sandbox := range sandboxes {
		results, err := filepath.Glob("/var/lib/cni/results/*-" + filepath.Base(sandbox) + "-*")
		if err != nil {
			return fmt.Errorf("listing notes on a pod's network: %w", err)
		}
		for _, result := range results {
			if err := os.Remove(result); err != nil {
				return fmt.Errorf("removing a note on a pod's network: %w", err)
			}
		}
	}
	return nil
}

// removeRuntimeState removes the sockets of shims that were killed, and what runc noted of their containers. Which they
// are is read in the cluster's own folder: one folder a container, with the socket's address in a file (containerd
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
