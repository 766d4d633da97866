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
	"github.com/velero-restic/velero-plugin-for-restic/test/fixture"
	"github.com/velero-restic/velero-plugin-for-restic/test/install"
)

// extraCluster is a cluster of one test's own.
type extraCluster struct {
	t    *testing.T
	node *node.Node
}

// startExtraCluster starts a cluster that has Velero and the images of this project, but not the project itself. The
// cluster is removed when the test ends. The name must be short.
func startExtraCluster(
	t *testing.T, name string, nodeOptions node.Options, veleroOptions velero.Options,
) *extraCluster {
	t.Helper()
	n, err := node.New(suite.name+"-"+name, suite.cache, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	c := &extraCluster{t: t, node: n}
	c.remove() // a run that was killed may have left it
	t.Cleanup(c.remove)
	if err := n.Up(t.Context(), nodeOptions); err != nil {
		t.Fatal(err)
	}
	if err := velero.Install(t.Context(), n, veleroOptions, t.Output()); err != nil {
		t.Fatal(err)
	}
	if err := install.Load(t.Context(), n, filepath.Join(suite.repository, install.Images)); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *extraCluster) remove() {
	c.t.Helper()
	// At a cleanup the test's context has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), commandLimit)
	defer cancel()
	if err := c.node.Down(ctx); err != nil && !errors.Is(err, node.ErrAbsent) {
		c.t.Error("removing the cluster:", err)
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

// runFixture runs the fixture program in a pod.
func (c *extraCluster) runFixture(namespace, pod string, args ...string) string {
	c.t.Helper()
	c.kubectl("-n", namespace, "-c", "main", "cp", suite.fixture, pod+":"+fixtureInPod)
	exec := []string{"-n", namespace, "-c", "main", "exec", pod, "--", fixtureInPod}
	return c.kubectl(append(exec, args...)...)
}

// recordVolume returns what is in the volume at the path.
func (c *extraCluster) recordVolume(namespace, pod, path string) []fixture.Entry {
	c.t.Helper()
	return loadRecord(c.t, c.runFixture(namespace, pod, "record", path))
}
