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

// Kubectl runs the pinned kubectl as the cluster's administrator and returns its standard output.
//
// An error contains the standard error of kubectl.
func (n *Node) Kubectl(ctx context.Context, args ...string) (string, error) {
	return n.call(ctx, nil, "kubectl", args...)
}

// Apply runs `kubectl apply --server-side` with the manifests. A second call changes only what differs.
func (n *Node) Apply(ctx context.Context, manifests []byte) error {
	_, err := n.call(ctx, manifests, "kubectl", "apply", "--server-side", "--force-conflicts", "-f", "-")
	return err
}

// Velero runs the pinned velero client as the cluster's administrator and returns its standard output.
//
// An error contains both streams, because velero prints some errors to standard output.
func (n *Node) Velero(ctx context.Context, args ...string) (string, error) {
	return n.call(ctx, nil, "velero", args...)
}

func (n *Node) call(ctx context.Context, stdin []byte, program string, args ...string) (string, error) {
	file, err := n.cache.Binary(program)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, file, args...)
	// kubectl caches the API resources of a cluster in HOME. The cache of another cluster would be wrong.
	cmd.Env = []string{"KUBECONFIG=" + n.Kubeconfig(), "HOME=" + n.path("home"), searchPath}
	cmd.Stdin = bytes.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		output := strings.TrimSpace(stderr.String() + "\n" + stdout.String())
		return "", fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, output)
	}
	return stdout.String(), nil
}
