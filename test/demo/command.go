// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// call is a command with its input and the writer for its output.
type call struct {
	args   []string
	stdin  io.Reader
	stdout io.Writer
}

// execute runs kubectl or velero on the demo's cluster. An error contains standard error and standard output.
func (d *demo) execute(ctx context.Context, c call) error {
	cmd := exec.CommandContext(ctx, d.programs[c.args[0]], c.args[1:]...)
	// kubectl caches the API resources of a cluster in HOME. The cache of another cluster would be wrong.
	cmd.Env = []string{
		"KUBECONFIG=" + d.kubeconfig, "HOME=" + filepath.Join(d.private, "home"), "PATH=" + os.Getenv("PATH"),
		"VELERO_NAMESPACE=" + d.namespace,
	}
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.stdin, c.stdout, &stderr
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		output := stderr.String()
		if buffer, ok := c.stdout.(*bytes.Buffer); ok {
			output += buffer.String()
		}
		return fmt.Errorf("%s: %w: %s", shellLine(c.args), err, strings.TrimSpace(output))
	}
	return nil
}

// kubectl runs a command without showing it, and returns its standard output.
func (d *demo) kubectl(ctx context.Context, args ...string) (string, error) {
	var stdout bytes.Buffer
	err := d.execute(ctx, call{args: append([]string{"kubectl"}, args...), stdout: &stdout})
	return stdout.String(), err
}

// show runs a command of a user, and shows the command and its output.
func (d *demo) show(ctx context.Context, v view, args ...string) error {
	d.command(args)
	var stdout bytes.Buffer
	err := d.execute(ctx, call{args: args, stdout: &stdout})
	if err != nil {
		return err
	}
	d.output(stdout.String(), v)
	return nil
}

// waitForField reads a field until its value is final, and prints each new value. It returns an error after the
// timeout.
func (d *demo) waitForField(ctx context.Context, timeout time.Duration, q fieldQuery) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	last := ""
	for {
		value, err := d.kubectl(ctx, "-n", q.namespace, "get", q.object, "-o", "jsonpath={"+q.field+"}")
		if err == nil && value != last {
			d.note("%s is %s", q.object, value)
			last = value
		}
		if err == nil && q.final(value) {
			return value, nil
		}
		select {
		case <-ctx.Done():
			return last, fmt.Errorf("waiting for %s: it is %q after %s: %w", q.object, last, timeout, ctx.Err())
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// fieldQuery is a field of an object. final returns whether a value does not change any more.
type fieldQuery struct {
	namespace, object, field string
	final                    func(value string) bool
}

// diagnose shows the state of the cluster after a step has failed. It has its own timeout, because the demo's may have
// passed.
func (d *demo) diagnose(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	kinds := "resticrepositories.restic.velero.io,podvolumebackups.restic.velero.io,podvolumerestores.restic.velero.io"
	d.line("\nThe state of the cluster:")
	for _, command := range [][]string{
		{"kubectl", "-n", d.namespace, "get", "pods", "-o", "wide"},
		{"kubectl", "-n", "foo", "get", "pods,persistentvolumeclaims", "-o", "wide"},
		{"kubectl", "-n", "foo", "describe", "pod", "sample"},
		{"kubectl", "-n", d.namespace, "get", kinds, "-o", "wide"},
		{"velero", "backup", "describe", d.name, "--details"},
		{"velero", "restore", "describe", d.name, "--details"},
		{"kubectl", "-n", d.namespace, "logs", "daemonset/restic", "--tail=30"},
		{"kubectl", "-n", d.namespace, "logs", "deployment/velero", "-c", "velero", "--tail=30"},
	} {
		if err := d.show(ctx, window{head: 12, tail: 25}, command...); err != nil {
			d.output(err.Error(), window{head: 3})
		}
	}
}
