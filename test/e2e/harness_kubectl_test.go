// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// commandLimit bounds one command of kubectl or velero. The longest delete a namespace or fill a volume.
const commandLimit = 2 * time.Minute

// colorCode matches the escape sequence that sets a color in a terminal.
var colorCode = regexp.MustCompile("\x1b\\[[0-9;]*m")

// userCluster is the cluster of KUBECONFIG, with kubectl and velero from PATH.
type userCluster struct{}

func (userCluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return runUserProgram(ctx, "kubectl", args)
}

func (userCluster) Velero(ctx context.Context, args ...string) (string, error) {
	return runUserProgram(ctx, "velero", args)
}

func runUserProgram(ctx context.Context, program string, args []string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s%s", program, strings.Join(args, " "), err, stderr.String(), stdout.String())
	}
	return stdout.String(), nil
}

// limited returns a context for one command. A cleanup runs commands too, after the test's own context has ended.
func limited(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	return context.WithTimeout(context.WithoutCancel(t.Context()), commandLimit)
}

func tryKubectl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	return clusterOf(t).Kubectl(ctx, args...)
}

// kubectl runs kubectl on the test's cluster and returns its output. The test ends if kubectl fails.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := tryKubectl(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// kubectlYAML runs a command of kubectl that prints YAML, and returns the object.
func kubectlYAML[T any](t *testing.T, command string) T {
	t.Helper()
	var object T
	if err := yaml.Unmarshal([]byte(kubectl(t, strings.Fields(command)...)), &object); err != nil {
		t.Fatalf("reading the output of kubectl %s: %v", command, err)
	}
	return object
}

// veleroCLI runs velero on the test's cluster and returns its output without colors. The test ends if velero fails.
func veleroCLI(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	out, err := clusterOf(t).Velero(ctx, args...)
	if err != nil {
		t.Fatal(err)
	}
	return colorCode.ReplaceAllString(out, "")
}

// apply applies objects, each a struct of the API or a manifest as text.
func apply(t *testing.T, objects ...any) {
	t.Helper()
	var manifests []string
	for _, object := range objects {
		text, isText := object.(string)
		if !isText {
			content, err := yaml.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			text = string(content)
		}
		manifests = append(manifests, text)
	}
	// t.TempDir has the name of the subtest in its path, and kubectl splits the path at a comma.
	directory, err := os.MkdirTemp("", "manifests-") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(directory) }()
	file := filepath.Join(directory, "manifests.yaml")
	if err := os.WriteFile(file, []byte(strings.Join(manifests, "\n---\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "apply", "-f", file)
}
