// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package node

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Kubectl runs the pinned kubectl as the cluster's administrator and returns what it prints on standard output.
//
// An error carries what kubectl said on standard error.
func (n *Node) Kubectl(ctx context.Context, args ...string) (string, error) {
	return n.call(ctx, nil, "kubectl", args...)
}

// Apply hands manifests to `kubectl apply`, server-side, so that a second time changes only what differs.
func (n *Node) Apply(ctx context.Context, manifests []byte) error {
	_, err := n.call(ctx, manifests, "kubectl", "apply", "--server-side", "--force-conflicts", "-f", "-")
	return err
}

// Velero runs the pinned velero client as the cluster's administrator and returns what it prints on standard output.
//
// An error carries what it said on both streams: velero tells some of its errors on standard output.
func (n *Node) Velero(ctx context.Context, args ...string) (string, error) {
	return n.call(ctx, nil, "velero", args...)
}

func (n *Node) call(ctx context.Context, stdin []byte, program string, args ...string) (string, error) {
	file, err := n.cache.Binary(program)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, file, args...)
	// HOME is where kubectl keeps what it learned of the API: another cluster's would be wrong.
	cmd.Env = []string{"KUBECONFIG=" + n.Kubeconfig(), "HOME=" + n.path("home"), searchPath}
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(stderr.String() + "\n" + stdout.String())
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, said)
	}
	return stdout.String(), nil
}
