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

// call is a command with what it reads and where its output goes.
type call struct {
	args   []string
	stdin  io.Reader
	stdout io.Writer
}

// execute runs kubectl or velero against the demo's cluster. An error carries what was said on both streams.
func (d *demo) execute(ctx context.Context, c call) error {
	cmd := exec.CommandContext(ctx, d.programs[c.args[0]], c.args[1:]...)
	// HOME is where kubectl remembers what kinds a cluster has; what it knows of another one would be wrong.
	cmd.Env = []string{
		"KUBECONFIG=" + d.kubeconfig, "HOME=" + filepath.Join(d.private, "home"), "PATH=" + os.Getenv("PATH"),
		"VELERO_NAMESPACE=" + d.namespace,
	}
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.stdin, c.stdout, &stderr
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		said := stderr.String()
		if buffer, ok := c.stdout.(*bytes.Buffer); ok {
			said += buffer.String()
		}
		return fmt.Errorf("%s: %w: %s", shellLine(c.args), err, strings.TrimSpace(said))
	}
	return nil
}

// kubectl runs a command that is not worth showing, and returns what it says.
func (d *demo) kubectl(ctx context.Context, args ...string) (string, error) {
	var stdout bytes.Buffer
	err := d.execute(ctx, call{args: append([]string{"kubectl"}, args...), stdout: &stdout})
	return stdout.String(), err
}

// show runs what a user would type, and shows both.
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

// await asks for a field until one of the values is there, and tells each new one. It never waits past the deadline.
func (d *demo) await(ctx context.Context, deadline time.Duration, q question) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
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
			return last, fmt.Errorf("waiting for %s: it is %q after %s: %w", q.object, last, deadline, ctx.Err())
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// question is what await asks: a field of an object, until its value is final.
type question struct {
	namespace, object, field string
	final                    func(value string) bool
}

// diagnose shows what helps to see why a step failed. It has its own deadline, since the demo's may have passed.
func (d *demo) diagnose(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	kinds := "resticrepositories.restic.velero.io,podvolumebackups.restic.velero.io,podvolumerestores.restic.velero.io"
	d.line("\nWhat the cluster says:")
	for _, look := range [][]string{
		{"kubectl", "-n", d.namespace, "get", "pods", "-o", "wide"},
		{"kubectl", "-n", "foo", "get", "pods,persistentvolumeclaims", "-o", "wide"},
		{"kubectl", "-n", "foo", "describe", "pod", "sample"},
		{"kubectl", "-n", d.namespace, "get", kinds, "-o", "wide"},
		{"velero", "backup", "describe", d.name, "--details"},
		{"velero", "restore", "describe", d.name, "--details"},
		{"kubectl", "-n", d.namespace, "logs", "daemonset/restic", "--tail=30"},
		{"kubectl", "-n", d.namespace, "logs", "deployment/velero", "-c", "velero", "--tail=30"},
	} {
		if err := d.show(ctx, window{head: 12, tail: 25}, look...); err != nil {
			d.output(err.Error(), window{head: 3})
		}
	}
}
