// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package node

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/pki"
)

func newNode(t *testing.T, name string) *Node {
	t.Helper()
	n, err := New(name, part.Cache{}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNewRefusesNamesThatBreakPaths(t *testing.T) {
	tests := map[string]bool{
		"demo": true, "a": true, "other-2": true,
		"": false, "../demo": false, "Demo": false, "2nd": false, "a.b": false, "a/b": false, "-a": false,
		strings.Repeat("a", 21): false,
	}
	for name, good := range tests {
		if _, err := New(name, part.Cache{}, io.Discard); (err == nil) != good {
			t.Errorf("name %q: got error %v, want it accepted: %t", name, err, good)
		}
	}
}

func TestRenderKubeconfig(t *testing.T) {
	pair := pki.Pair{Certificate: []byte("certificate"), Key: []byte("key")}
	content, err := renderKubeconfig("demo", "https://10.197.0.2:6443", []byte("authority"), "administrator", pair)
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.Load(content)
	if err != nil {
		t.Fatal(err)
	}
	context := config.Contexts[config.CurrentContext]
	if config.CurrentContext != "demo" || context == nil {
		t.Fatalf("the current context is %q (%v), want demo", config.CurrentContext, context)
	}
	cluster, user := config.Clusters[context.Cluster], config.AuthInfos[context.AuthInfo]
	if cluster == nil || user == nil {
		t.Fatalf("the context leads to cluster %v and user %v, want both", cluster, user)
	}
	got := []string{
		cluster.Server, string(cluster.CertificateAuthorityData),
		string(user.ClientCertificateData), string(user.ClientKeyData),
	}
	if diff := cmp.Diff([]string{"https://10.197.0.2:6443", "authority", "certificate", "key"}, got); diff != "" {
		t.Errorf("kubeconfig differs (-want +got):\n%s", diff)
	}
}

func TestPodNetworkUsesTheClustersOwnRange(t *testing.T) {
	n := newNode(t, "demo")
	content, err := n.renderCNI(addresses{7})
	if err != nil {
		t.Fatal(err)
	}
	var network struct {
		Plugins []struct {
			IPAM struct {
				DataDir string
				Ranges  [][]struct{ Subnet string }
			}
		}
	}
	if err := json.Unmarshal(content, &network); err != nil {
		t.Fatal(err)
	}
	ipam := network.Plugins[0].IPAM
	if got := ipam.Ranges[0][0].Subnet; got != "10.198.7.0/24" {
		t.Errorf("pods get addresses from %s, want 10.198.7.0/24", got)
	}
	if !strings.HasPrefix(ipam.DataDir, n.State()+"/") {
		t.Errorf("the addresses are in %s, want a directory below %s", ipam.DataDir, n.State())
	}
}

func TestProgramsStayBelowTheClustersFolder(t *testing.T) {
	n, a := newNode(t, "other"), addresses{3}
	programs := map[string][]string{
		"etcd": n.etcdArgs(), "api": n.apiArgs(a), "manager": n.managerArgs(), "scheduler": n.schedulerArgs(),
		"kubelet": n.kubeletArgs(a), "proxy": n.proxyArgs(a), "containerd": n.containerdArgs(),
	}
	for name, args := range programs {
		for _, arg := range args {
			_, value, _ := strings.Cut(arg, "=")
			if strings.HasPrefix(value, "/") && !strings.HasPrefix(value, n.State()+"/") {
				t.Errorf("%s gets %s, want every path below %s", name, arg, n.State())
			}
		}
	}
}

func TestMountsBelow(t *testing.T) {
	table := strings.Join([]string{
		`1 0 254:0 / / rw - ext4 /dev/vda rw`,
		`2 1 254:0 / /state/demo/kubelet rw shared:1 - ext4 /dev/vda rw`,
		`3 2 0:50 / /state/demo/kubelet/pods/a/volumes/x\040y rw - tmpfs tmpfs rw`,
		`4 1 0:51 / /state/demo-2/kubelet rw - tmpfs tmpfs rw`,
		`5 1 0:52 / /state/demo rw - tmpfs tmpfs rw`,
		`cut`,
	}, "\n")
	want := []string{"/state/demo/kubelet", "/state/demo/kubelet/pods/a/volumes/x y"}
	if diff := cmp.Diff(want, mountsBelow(table, "/state/demo")); diff != "" {
		t.Errorf("mounts differ (-want +got):\n%s", diff)
	}
}

func TestIsShimOf(t *testing.T) {
	const socket = "/state/demo/containerd.sock"
	tests := map[string]struct {
		args []string
		want bool
	}{
		"a shim of this cluster": {
			args: []string{"/usr/bin/containerd-shim-runc-v2", "-namespace", "k8s.io", "-address", socket}, want: true,
		},
		"a shim of a cluster whose name starts the same": {
			args: []string{"/usr/bin/containerd-shim-runc-v2", "-address", "/state/demo-2/containerd.sock"},
		},
		"a shim of the machine's containerd": {
			args: []string{"/usr/bin/containerd-shim-runc-v2", "-address", "/run/containerd/containerd.sock"},
		},
		"another program with the same argument": {args: []string{"/usr/bin/ctr", "-address", socket}},
		"a shim whose arguments end early":       {args: []string{"/usr/bin/containerd-shim-runc-v2", "-address"}},
		"a kernel thread without arguments":      {args: []string{""}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var cmdline bytes.Buffer
			for _, arg := range test.args {
				cmdline.WriteString(arg + "\x00")
			}
			if got := isShimOf(cmdline.Bytes(), socket); got != test.want {
				t.Errorf("got %t, want %t", got, test.want)
			}
		})
	}
}
