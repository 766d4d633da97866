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

// answer is what velero-restic has said, and its exit code.
type answer struct {
	out, err string
	code     int
}

// programEnv is the environment of velero-restic on this cluster: nothing but what chooses the cluster.
func programEnv() []string {
	kubeconfig := os.Getenv("KUBECONFIG")
	if suite.node != nil {
		kubeconfig = suite.node.Kubeconfig()
	}
	return []string{"KUBECONFIG=" + kubeconfig, "PATH=" + os.Getenv("PATH"), "HOME=" + os.TempDir()}
}

// resticCLI runs velero-restic, and does not mind how that ends.
func resticCLI(t *testing.T, args ...string) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), operationLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, suite.program, args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &errOut, programEnv()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("velero-restic %q: %v", args, err)
	}
	return answer{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}
