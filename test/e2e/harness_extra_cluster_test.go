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

// site is a cluster of one test's own.
type site struct {
	t    *testing.T
	node *node.Node
}

// newSite starts a cluster beside the suite's, with Velero and with the images of this project, and without the project
// itself. It goes when the test ends. The name is short.
func newSite(t *testing.T, name string, options node.Options, with velero.Options) *site {
	t.Helper()
	n, err := node.New(suite.node.Name()+"-"+name, suite.node.Cache(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, node: n}
	s.destroy() // what a run that was killed has left
	t.Cleanup(s.destroy)
	if err := n.Up(t.Context(), options); err != nil {
		t.Fatal(err)
	}
	if err := velero.Install(t.Context(), n, with, t.Output()); err != nil {
		t.Fatal(err)
	}
	if err := install.Load(t.Context(), n, filepath.Join(suite.repository, install.Images)); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) destroy() {
	s.t.Helper()
	// It is a clean-up too, and the test's context has ended by then.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), commandLimit)
	defer cancel()
	if err := s.node.Down(ctx); err != nil && !errors.Is(err, node.ErrAbsent) {
		s.t.Error("taking the cluster down:", err)
	}
}

func (s *site) kubectl(args ...string) string {
	s.t.Helper()
	out, err := s.node.Kubectl(s.t.Context(), args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

func (s *site) velero(args ...string) string {
	s.t.Helper()
	out, err := s.node.Velero(s.t.Context(), args...)
	if err != nil {
		s.t.Fatal(err)
	}
	return color.ReplaceAllString(out, "")
}

func (s *site) apply(objects ...any) {
	s.t.Helper()
	for _, object := range objects {
		manifest, err := yaml.Marshal(object)
		if err != nil {
			s.t.Fatal(err)
		}
		if err := s.node.Apply(s.t.Context(), manifest); err != nil {
			s.t.Fatal(err)
		}
	}
}
