// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package node

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	"sigs.k8s.io/yaml"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/host"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/pki"
)

type object = map[string]any

// renderKubeconfig returns a kubeconfig that contains all credentials, so that a user can copy it.
func renderKubeconfig(cluster, server string, authority []byte, user string, pair pki.Pair) ([]byte, error) {
	encode := base64.StdEncoding.EncodeToString
	content, err := yaml.Marshal(object{
		"apiVersion": "v1", "kind": "Config", "current-context": cluster,
		"clusters": []object{{"name": cluster, "cluster": object{
			"server": server, "certificate-authority-data": encode(authority),
		}}},
		"users": []object{{"name": user, "user": object{
			"client-certificate-data": encode(pair.Certificate), "client-key-data": encode(pair.Key),
		}}},
		"contexts": []object{{"name": cluster, "context": object{"cluster": cluster, "user": user}}},
	})
	if err != nil {
		return nil, fmt.Errorf("rendering the kubeconfig of %s: %w", user, err)
	}
	return content, nil
}

// renderKubelet returns the kubelet's configuration for a small machine without systemd, with any cgroup version.
func (n *Node) renderKubelet() ([]byte, error) {
	content, err := yaml.Marshal(object{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"authentication": object{
			"anonymous": object{"enabled": false},
			"webhook":   object{"enabled": true},
			"x509":      object{"clientCAFile": n.path("pki", "ca.crt")},
		},
		"authorization":            object{"mode": "Webhook"},
		"cgroupDriver":             "cgroupfs",
		"cgroupRoot":               "/" + n.cgroup(),
		"containerRuntimeEndpoint": "unix://" + n.containerdSocket(),
		"enforceNodeAllocatable":   []string{},
		"failCgroupV1":             false,
		"failSwapOn":               false,
		// The disk of a test machine may be nearly full, which does not affect the tests.
		"evictionHard": object{"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
		// 100 disables the garbage collection of images, because no registry has them.
		"imageGCHighThresholdPercent": 100,
		// A lower score needs CAP_SYS_RESOURCE, which a container may not have.
		"oomScoreAdj":     0,
		"podLogsDir":      n.path("pod-logs"),
		"resolvConf":      n.path("resolv.conf"),
		"volumePluginDir": n.path("kubelet", "volume-plugins"),
	})
	if err != nil {
		return nil, fmt.Errorf("rendering the kubelet's configuration: %w", err)
	}
	return content, nil
}

// renderContainerd returns containerd's configuration in version 2, for containerd 1.6 and later.
func (n *Node) renderContainerd() string {
	return fmt.Sprintf(`version = 2
root = %q
state = %q

[grpc]
  address = %q

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  # Without this, no container starts if CAP_SYS_RESOURCE is missing.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  # The kubelet uses the stream server for exec and logs; it is local to the namespace.
  stream_server_address = "127.0.0.1"

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = %q

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = %q
  conf_dir = %q

[plugins."io.containerd.internal.v1.opt"]
  path = %q
`, n.path("containerd", "root"), n.path("containerd", "state"), n.containerdSocket(), PauseImage,
		snapshotter(n.State()), host.CNI, n.path("cni"), n.path("containerd", "opt"))
}

// snapshotter returns containerd's snapshotter. overlayfs does not work on another overlay, such as the root of a
// container. There, containerd copies the layers of images.
func snapshotter(folder string) string {
	var fs unix.Statfs_t
	if err := unix.Statfs(folder, &fs); err == nil && fs.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return "native"
	}
	return "overlayfs"
}

// renderCNI returns the configuration of the pod network: a bridge in the cluster's namespace, with addresses from a
// file.
func (n *Node) renderCNI(a addresses) ([]byte, error) {
	content, err := json.MarshalIndent(object{
		"cniVersion": "0.4.0", "name": "pods",
		"plugins": []object{
			{
				"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
				"ipam": object{
					"type": "host-local", "dataDir": n.path("cni-state"),
					"ranges": [][]object{{{"subnet": a.pods()}}}, "routes": []object{{"dst": "0.0.0.0/0"}},
				},
			},
			{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("rendering the pod network: %w", err)
	}
	return content, nil
}

// writeConfiguration writes the configuration files of all programs.
func (n *Node) writeConfiguration(a addresses) error {
	kubelet, err := n.renderKubelet()
	if err != nil {
		return err
	}
	network, err := n.renderCNI(a)
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"kubelet.yaml":         kubelet,
		"containerd.toml":      []byte(n.renderContainerd()),
		"cni/10-pods.conflist": network,
		// Without a server, a lookup in a pod fails immediately instead of waiting for an unreachable server.
		"resolv.conf": nil,
	}
	for name, content := range files {
		file := n.path(filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("writing configuration: %w", err)
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return fmt.Errorf("writing configuration: %w", err)
		}
	}
	return nil
}

func (n *Node) containerdSocket() string { return n.path("containerd.sock") }
