// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/node"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
	"github.com/velero-restic/velero-plugin-for-restic/test/install"
)

// extraCluster is a cluster of one test's own.
type extraCluster struct {
	t    *testing.T
	node *node.Node
}

// startExtraCluster starts a cluster beside the suite's, with Velero and with the images of this project, and without the project
// itself. It goes when the test ends. The name is short.
func startExtraCluster(t *testing.T, name string, options node.Options, with velero.Options) *extraCluster {
	t.Helper()
	n, err := node.New(suite.node.Name()+"-"+name, suite.node.Cache(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	c := &extraCluster{t: t, node: n}
	c.remove() // what a run that was killed has left
	t.Cleanup(c.remove)
	if err := n.Up(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	if err := velero.Install(t.Context(), n, with, t.Output()); err != nil {
		t.Fatal(err)
	}
	if err := install.Load(t.Context(), n, filepath.Join(suite.repository, install.Images)); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *extraCluster) remove() {
	c.t.Helper()
	// It is a clean-up too, and the test's context has ended by then.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), commandLimit)
	defer cancel()
	if err := c.node.Down(ctx); err != nil && !errors.Is(err, node.ErrAbsent) {
		c.t.Error("taking the cluster down:", err)
	}
}

func (c *extraCluster) kubectl(args ...string) string {
	c.t.Helper()
	out, err := c.node.Kubectl(c.t.Context(), args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

func (c *extraCluster) velero(args ...string) string {
	c.t.Helper()
	out, err := c.node.Velero(c.t.Context(), args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return colorCode.ReplaceAllString(out, "")
}

func (c *extraCluster) apply(objects ...any) {
	c.t.Helper()
	for _, object := range objects {
		manifest, err := yaml.Marshal(object)
		if err != nil {
			c.t.Fatal(err)
		}
		if err := c.node.Apply(c.t.Context(), manifest); err != nil {
			c.t.Fatal(err)
		}
	}
}
