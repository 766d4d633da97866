// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package node

import (
	"context"
	"fmt"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/host"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/process"
)

// Names of the cluster's programs in records and logs, and for Restart.
const (
	etcdProcess       = "etcd"
	containerdProcess = "containerd"
	gatewayProcess    = "versitygw"
	apiProcess        = "kube-apiserver"
	managerProcess    = "kube-controller-manager"
	schedulerProcess  = "kube-scheduler"
	kubeletProcess    = "kubelet"
	proxyProcess      = "kube-proxy"
	csiProcess        = "csi"
)

// searchPath is the PATH of every program. The kubelet runs mount and iptables, containerd runs runc.
const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// command returns the command that runs a part of the cluster, or a program of the machine, in the cluster's network.
func (n *Node) command(name string, args ...string) (process.Command, error) {
	file, err := n.cache.Binary(name)
	if name == etcdProcess || name == containerdProcess {
		file, err = host.Program(name)
	}
	if err != nil {
		return process.Command{}, err
	}
	return n.within(name, file, args...)
}

// within returns the command that runs a program in the cluster's network.
//
// It uses nsenter because `ip netns exec` mounts /sys again, which hides the cgroups from the kubelet. nsenter executes
// the program in the same process, so the process ID stays.
func (n *Node) within(name, file string, args ...string) (process.Command, error) {
	nsenter, err := host.Program("nsenter")
	if err != nil {
		return process.Command{}, err
	}
	return process.Command{
		Name: name, Path: nsenter,
		Args: append([]string{"--net=" + n.namespace(), "--", file}, args...),
		Env:  []string{searchPath, "HOME=/root"},
	}, nil
}

func (n *Node) etcdArgs() []string {
	return []string{
		"--data-dir=" + n.path("etcd"), "--name=" + n.name,
		"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380",
		// A test cluster does not have to survive a power failure.
		"--unsafe-no-fsync",
	}
}

func (n *Node) containerdArgs() []string { return []string{"--config=" + n.path("containerd.toml")} }

func (n *Node) apiArgs(a addresses) []string {
	return []string{
		"--bind-address=0.0.0.0", "--secure-port=6443", "--advertise-address=" + a.node(),
		"--cert-dir=" + n.path("pki"),
		"--tls-cert-file=" + n.path("pki", "apiserver.crt"),
		"--tls-private-key-file=" + n.path("pki", "apiserver.key"),
		"--client-ca-file=" + n.path("pki", "ca.crt"),
		"--kubelet-client-certificate=" + n.path("pki", "apiserver-kubelet.crt"),
		"--kubelet-client-key=" + n.path("pki", "apiserver-kubelet.key"),
		// Without this flag, exec and logs look up the node's name in DNS.
		"--kubelet-preferred-address-types=InternalIP",
		"--etcd-servers=http://127.0.0.1:2379",
		"--service-cluster-ip-range=" + a.services(),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + n.path("pki", "tokens.crt"),
		"--service-account-signing-key-file=" + n.path("pki", "tokens.key"),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
	}
}

func (n *Node) managerArgs() []string {
	return []string{
		"--kubeconfig=" + n.path("pki", "controller-manager.kubeconfig"),
		"--bind-address=127.0.0.1", "--leader-elect=false",
		"--root-ca-file=" + n.path("pki", "ca.crt"),
		"--service-account-private-key-file=" + n.path("pki", "tokens.key"),
		"--use-service-account-credentials=true",
		// --cert-dir only prevents writing to /var/run.
		"--cert-dir=" + n.path("pki", "controller-manager"),
		"--flex-volume-plugin-dir=" + n.path("kubelet", "volume-plugins"),
	}
}

func (n *Node) schedulerArgs() []string {
	return []string{
		"--kubeconfig=" + n.path("pki", "scheduler.kubeconfig"),
		"--bind-address=127.0.0.1", "--leader-elect=false",
		"--cert-dir=" + n.path("pki", "scheduler"),
	}
}

func (n *Node) kubeletArgs(a addresses) []string {
	return []string{
		"--config=" + n.path("kubelet.yaml"),
		"--kubeconfig=" + n.path("pki", "kubelet.kubeconfig"),
		"--cert-dir=" + n.path("pki", "kubelet"),
		"--root-dir=" + n.KubeletRoot(),
		"--hostname-override=" + n.NodeName(),
		"--node-ip=" + a.node(),
	}
}

func (n *Node) proxyArgs(a addresses) []string {
	return []string{
		"--kubeconfig=" + n.path("pki", "proxy.kubeconfig"),
		"--hostname-override=" + n.NodeName(),
		"--proxy-mode=iptables", "--cluster-cidr=" + a.pods(),
		// Without this flag, a pod that calls another pod through a Service gets the response directly over the bridge,
		// without address translation.
		"--masquerade-all",
		// Do not change the machine's limits of connection tracking.
		"--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0s", "--conntrack-tcp-timeout-close-wait=0s",
		"--oom-score-adj=0",
	}
}

// driver returns the command of the CSI driver for directories of the node.
func (n *Node) driver(ctx context.Context) (process.Command, error) {
	file, err := n.build(ctx, csiProcess)
	if err != nil {
		return process.Command{}, err
	}
	return n.within(csiProcess, file,
		"-kubelet="+n.KubeletRoot(), "-volumes="+n.path("csi"), "-kubeconfig="+n.Kubeconfig(), "-node="+n.NodeName())
}

// programs returns the commands of all programs in the cluster's network, in the order of starting.
func (n *Node) programs(a addresses) ([]process.Command, error) {
	all := []struct {
		name string
		args []string
	}{
		{etcdProcess, n.etcdArgs()},
		{containerdProcess, n.containerdArgs()},
		{apiProcess, n.apiArgs(a)},
		{managerProcess, n.managerArgs()},
		{schedulerProcess, n.schedulerArgs()},
		{kubeletProcess, n.kubeletArgs(a)},
		{proxyProcess, n.proxyArgs(a)},
	}
	commands := make([]process.Command, 0, len(all))
	for _, program := range all {
		command, err := n.command(program.name, program.args...)
		if err != nil {
			return nil, fmt.Errorf("preparing %s: %w", program.name, err)
		}
		commands = append(commands, command)
	}
	return commands, nil
}
