// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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

// commandLimit bounds one command of kubectl or velero. The longest deletes a namespace or fills a volume.
const commandLimit = 2 * time.Minute

// pollEvery is how often eventually looks.
const pollEvery = 500 * time.Millisecond

// colorCode is an escape sequence that sets one.
var colorCode = regexp.MustCompile("\x1b\\[[0-9;]*m")

// userCluster is the one of KUBECONFIG, with kubectl and velero from PATH.
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

// needsNode leaves out, on a user's own cluster, what reaches around it: for the bucket's files, for the node's.
func needsNode(t *testing.T) {
	t.Helper()
	if suite.node == nil {
		t.Skip("this looks at the bucket or the node from outside, which only the test cluster allows")
	}
}

func tryKubectl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	// A test's clean-up runs commands too, and its context has ended by then.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), commandLimit)
	defer cancel()
	return suite.cluster.Kubectl(ctx, args...)
}

func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := tryKubectl(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// veleroCLI runs velero and returns what it prints, without its colors.
func veleroCLI(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), commandLimit)
	defer cancel()
	out, err := suite.cluster.Velero(ctx, args...)
	if err != nil {
		t.Fatal(err)
	}
	return colorCode.ReplaceAllString(out, "")
}

// get reads one object, or a list, as `kubectl get … -o json` prints it.
func get[T any](t *testing.T, args ...string) T {
	t.Helper()
	object, err := tryGet[T](t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return object
}

func tryGet[T any](t *testing.T, args ...string) (T, error) {
	t.Helper()
	var object T
	out, err := tryKubectl(t, append([]string{"get", "-o", "json"}, args...)...)
	if err != nil {
		return object, err
	}
	if err := json.Unmarshal([]byte(out), &object); err != nil {
		return object, fmt.Errorf("reading kubectl get %s: %w", strings.Join(args, " "), err)
	}
	return object, nil
}

// apply makes objects, each a struct of the API or a manifest as text.
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
	file := filepath.Join(t.TempDir(), "manifests.yaml")
	if err := os.WriteFile(file, []byte(strings.Join(manifests, "\n---\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "apply", "-f", file)
}

// eventually waits until the check has nothing to say against it, and fails the test with its last words otherwise.
func eventually(t *testing.T, limit time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
		time.Sleep(pollEvery)
	}
}

// checkGone says that an object is still there, or nothing.
func checkGone(t *testing.T, args ...string) error {
	t.Helper()
	out, err := tryKubectl(t, append([]string{"get", "--ignore-not-found", "-o", "name"}, args...)...)
	if err != nil {
		return err
	}
	if out != "" {
		return errors.New("there is still " + strings.TrimSpace(out))
	}
	return nil
}

// wantContains reports each text that is missing.
func wantContains(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s does not say %q:\n%s", what, part, text)
		}
	}
}
