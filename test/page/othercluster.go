// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package page

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// PasswordFile is the name of the file, in the workspace's directory, to which docs/install.md saves a copy of the
// repositories' password.
const PasswordFile = "repository-password"

// OtherCluster follows the steps of docs/restore.md to restore in another cluster.
type OtherCluster struct {
	// Workspace is that of the new cluster.
	Workspace *Workspace
	// Out gets each block before it runs.
	Out io.Writer
}

// otherClusterSection is the heading of that section.
const otherClusterSection = "Restore in another cluster"

// Install prepares the new cluster. It creates the password from the copy in the old workspace, installs this project
// as docs/install.md describes, without creating a password, and then sets the location to read-only.
func (o OtherCluster) Install(ctx context.Context, old *Workspace) error {
	copied, err := os.ReadFile(filepath.Join(old.Folder(), PasswordFile))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(o.Workspace.Folder(), PasswordFile), copied, 0o600); err != nil {
		return err
	}
	if err := o.step(ctx, "--from-file=repository-password", nil); err != nil {
		return err
	}
	guide := installation()
	const password = "create secret generic velero-restic-credentials"
	guide.Skips = append(guide.Skips, Skip{Block: password, Reason: "docs/restore.md omits this step"})
	guide.Checks = slices.DeleteFunc(guide.Checks, func(c Check) bool { return strings.Contains(c.Block, password) })
	if err := o.Workspace.Follow(ctx, guide, "Uninstall", o.Out); err != nil {
		return err
	}
	return o.step(ctx, `"accessMode":"ReadOnly"`, nil)
}

// Restore restores a backup, and then sets the location to read-write.
func (o OtherCluster) Restore(ctx context.Context, backup string) error {
	return o.step(ctx, "velero backup get", map[string]string{"NAME": backup})
}

func (o OtherCluster) step(ctx context.Context, block string, replace map[string]string) error {
	guide := Guide{File: "docs/restore.md", Only: &Only{Section: otherClusterSection, Block: block}, Replace: replace}
	return o.Workspace.Follow(ctx, guide, "", o.Out)
}
