// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package node

import (
	"fmt"
	"net"
	"os"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/pki"
)

// writeCredentials creates the cluster's keys, and a kubeconfig for each program and for the administrator.
//
// The names and groups are those to which the built-in roles of Kubernetes are bound.
func (n *Node) writeCredentials(a addresses) error {
	if err := os.MkdirAll(n.path("pki"), 0o700); err != nil {
		return fmt.Errorf("creating the directory for keys: %w", err)
	}
	authority, err := pki.NewAuthority("velero-restic-cluster " + n.name)
	if err != nil {
		return err
	}
	if err := os.WriteFile(n.path("pki", "ca.crt"), authority.PEM, 0o644); err != nil {
		return fmt.Errorf("writing the authority's certificate: %w", err)
	}
	if err := n.writeServerKeys(authority, a); err != nil {
		return err
	}
	users := []struct {
		file, user string
		groups     []string
	}{
		{n.Kubeconfig(), "administrator", []string{"system:masters"}},
		{n.path("pki", "controller-manager.kubeconfig"), "system:kube-controller-manager", nil},
		{n.path("pki", "scheduler.kubeconfig"), "system:kube-scheduler", nil},
		{n.path("pki", "proxy.kubeconfig"), "system:kube-proxy", nil},
		{n.path("pki", "kubelet.kubeconfig"), "system:node:" + n.NodeName(), []string{"system:nodes"}},
	}
	for _, u := range users {
		pair, err := authority.Client(u.user, u.groups...)
		if err != nil {
			return err
		}
		server := Plan{Index: a.index}.API()
		content, err := renderKubeconfig(n.name, server, authority.PEM, u.user, pair)
		if err != nil {
			return err
		}
		if err := os.WriteFile(u.file, content, 0o600); err != nil {
			return fmt.Errorf("writing the kubeconfig of %s: %w", u.user, err)
		}
	}
	return nil
}

func (n *Node) writeServerKeys(authority *pki.Authority, a addresses) error {
	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	var ips []net.IP
	for _, address := range []string{"127.0.0.1", a.node(), a.api()} {
		ips = append(ips, net.ParseIP(address))
	}
	server, err := authority.Server("kube-apiserver", names, ips)
	if err != nil {
		return err
	}
	// How the API server introduces itself to the kubelet, for exec and logs.
	client, err := authority.Client("kube-apiserver-kubelet-client", "system:masters")
	if err != nil {
		return err
	}
	tokens, err := pki.TokenKey()
	if err != nil {
		return err
	}
	for name, pair := range map[string]pki.Pair{"apiserver": server, "apiserver-kubelet": client, "tokens": tokens} {
		if err := pair.Write(n.path("pki", name)); err != nil {
			return err
		}
	}
	return nil
}
