// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// cliResult is the output of a program, and its exit code.
type cliResult struct {
	out, err string
	code     int
}

// cliEnv returns the environment of velero-restic: only what selects the cluster, and a PATH with velero-restic and the
// cluster's programs.
func cliEnv(t *testing.T) []string {
	t.Helper()
	cluster := clusterOf(t)
	path := []string{filepath.Dir(suite.program), os.Getenv("PATH")}
	if cluster.node != nil {
		path = append([]string{cluster.node.Bin()}, path...)
	}
	return []string{
		"KUBECONFIG=" + cluster.kubeconfig, "PATH=" + strings.Join(path, ":"), "HOME=" + t.TempDir(),
	}
}

// runProgram runs a program of the PATH that cliEnv returns. A program that fails has an exit code.
func runProgram(t *testing.T, program string, args ...string) cliResult {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), operationLimit)
	defer cancel()
	var out, errOut bytes.Buffer
	// env finds the program in the PATH that it sets.
	process := exec.CommandContext(ctx, "env", append(append(cliEnv(t), "TERM=xterm", program), args...)...)
	process.Env = []string{"PATH=" + os.Getenv("PATH")}
	process.Stdout, process.Stderr = &out, &errOut
	err := process.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %q: %v", program, args, err)
	}
	result := cliResult{out: out.String(), err: errOut.String(), code: process.ProcessState.ExitCode()}
	if strings.Contains(result.out+result.err, "\x1b") {
		t.Errorf("%s %q writes escape sequences into a pipe: %q", program, args, result.out+result.err)
	}
	return result
}

// runCLI runs velero-restic.
func runCLI(t *testing.T, args ...string) cliResult {
	t.Helper()
	return runProgram(t, "velero-restic", args...)
}

// wantCLI runs velero-restic and wants this exit code, and each of the parts in its output or error output. The test
// ends at another exit code.
func wantCLI(t *testing.T, code int, parts []string, args ...string) cliResult {
	t.Helper()
	result := runCLI(t, args...)
	if result.code != code {
		t.Fatalf("velero-restic %q ended with %d, want %d:\n%s%s", args, result.code, code, result.out, result.err)
	}
	wantContains(t, "velero-restic "+strings.Join(args, " "), result.out+result.err, parts...)
	return result
}
