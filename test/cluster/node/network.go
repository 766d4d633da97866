// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/host"
)

// namespace returns the file that keeps the cluster's network namespace.
func (n *Node) namespace() string { return n.path("netns") }

// createNetwork creates the namespace and the pair of interfaces that connects it to the machine.
func (n *Node) createNetwork(ctx context.Context, a addresses) error {
	if err := os.WriteFile(n.namespace(), nil, 0o600); err != nil {
		return fmt.Errorf("creating the network namespace: %w", err)
	}
	if err := run(ctx, "unshare", "--net="+n.namespace(), "true"); err != nil {
		return fmt.Errorf("creating the network namespace: %w", err)
	}
	inside := []string{"--net=" + n.namespace(), "--", "ip"}
	steps := [][]string{
		{"ip", "link", "add", a.link(), "type", "veth", "peer", "name", "eth0", "netns", n.namespace()},
		{"ip", "address", "add", a.host() + "/30", "dev", a.link()},
		{"ip", "link", "set", a.link(), "up"},
		append(append([]string{"nsenter"}, inside...), "link", "set", "lo", "up"),
		append(append([]string{"nsenter"}, inside...), "address", "add", a.node()+"/30", "dev", "eth0"),
		append(append([]string{"nsenter"}, inside...), "link", "set", "eth0", "up"),
		append(append([]string{"nsenter"}, inside...), "route", "add", "default", "via", a.host()),
		{"nsenter", inside[0], "--", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"},
	}
	for _, step := range steps {
		if err := run(ctx, step[0], step[1:]...); err != nil {
			return fmt.Errorf("creating the network: %w", err)
		}
	}
	return nil
}

// removeNetwork deletes the machine's interface of the pair, which also deletes the other. Unmounting its file removes
// the namespace with its bridges, routes and packet filter rules.
func (n *Node) removeNetwork(ctx context.Context, a addresses) error {
	if !a.linked() {
		return nil
	}
	if err := run(ctx, "ip", "link", "delete", a.link()); err != nil {
		return fmt.Errorf("removing the network: %w", err)
	}
	return nil
}

// shareKubeletRoot makes mounts in the kubelet's root directory visible in pods with HostToContainer, also if the root
// file system of the machine is mounted private.
func (n *Node) shareKubeletRoot() error {
	root := n.KubeletRoot()
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fmt.Errorf("creating the kubelet's root directory: %w", err)
	}
	if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting the kubelet's root directory: %w", err)
	}
	if err := unix.Mount("", root, "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("sharing the kubelet's root directory: %w", err)
	}
	return nil
}

// unmountAll unmounts everything in the cluster's directory, in reverse order of mounting.
func (n *Node) unmountAll() error {
	// A mount may hide another mount at the same path, so list them again until none is left.
	for range 10 {
		points, err := n.mounts()
		if err != nil || len(points) == 0 {
			return err
		}
		for i := len(points) - 1; i >= 0; i-- {
			if err := unix.Unmount(points[i], unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
				return fmt.Errorf("unmounting %s: %w", points[i], err)
			}
		}
	}
	return fmt.Errorf("unmounting below %s: new mounts keep appearing", n.State())
}

func (n *Node) mounts() ([]string, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("listing mounts: %w", err)
	}
	return mountsBelow(string(table), n.State()), nil
}

// mountsBelow returns the mount points below a directory in the order of mounting, from the text of
// /proc/self/mountinfo: field 5 of each line, with escapes such as \040 for a space, see proc(5).
func mountsBelow(table, folder string) []string {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var points []string
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if point := unescape.Replace(fields[4]); strings.HasPrefix(point, folder+"/") {
			points = append(points, point)
		}
	}
	return points
}

// run runs a program of the machine. An error contains its output.
func run(ctx context.Context, name string, args ...string) error {
	file, err := host.Program(name)
	if err != nil {
		return err
	}
	if output, err := exec.CommandContext(ctx, file, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}
