// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"path/filepath"
	"testing"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/node"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
	"github.com/velero-restic/velero-plugin-for-restic/test/page"
)

// TestDocumentation follows every page that users read, on a cluster of its own: it installs the project as the pages
// say, and runs each of their commands. test/integration follows the pages that need no node.
func TestDocumentation(t *testing.T) {
	useExtraClusters(t)
	workspace := newWorkspace(t, startExtraCluster(t, "pages", node.Options{}, velero.Options{}).node)
	files, err := page.Files(suite.repository)
	if err != nil {
		t.Fatal(err)
	}
	followed := map[string]bool{}
	follow := func(guide page.Guide) {
		if followed[guide.File] || guide.Server {
			return
		}
		followed[guide.File] = true
		t.Run(guide.File, func(t *testing.T) {
			if err := workspace.Follow(t.Context(), guide, "", t.Output()); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, guide := range page.Guides() {
		if follow(guide); t.Failed() && guide.File == "README.md" {
			t.Fatal("the other pages need the installation of README.md")
		}
	}
	for _, file := range files {
		follow(page.GuideFor(file))
	}
}

// newWorkspace is where a reader of the pages works with a cluster.
func newWorkspace(t *testing.T, n *node.Node) *page.Workspace {
	t.Helper()
	workspace, err := page.NewWorkspace(page.WorkspaceOptions{
		Repository: suite.repository, Folder: t.TempDir(), Kubeconfig: n.Kubeconfig(),
		Programs: []string{n.Bin(), filepath.Dir(suite.program)}, KubeletRoot: n.KubeletRoot(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return workspace
}
