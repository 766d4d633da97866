// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"testing"
)

// cliResult is what velero-restic has said, and its exit code.
type cliResult struct {
	out, err string
	code     int
}

// cliEnv is the environment of velero-restic on this cluster: nothing but what chooses the cluster.
func cliEnv() []string {
	kubeconfig := os.Getenv("KUBECONFIG")
	if suite.node != nil {
		kubeconfig = suite.node.Kubeconfig()
	}
	return []string{"KUBECONFIG=" + kubeconfig, "PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir()}
}

// runCLI runs velero-restic, and does not mind how that ends.
func runCLI(t *testing.T, args ...string) cliResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), operationLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, suite.program, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &errOut, cliEnv()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("velero-restic %q: %v", args, err)
	}
	return cliResult{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}
