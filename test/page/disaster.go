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

// PasswordFile is where docs/install.md has the copy of the repositories' password put away, in the desk's folder.
const PasswordFile = "repository-password"

// Another is what docs/restore.md has to say to somebody who has lost a cluster, step by step.
type Another struct {
	// Desk is where the new cluster is built.
	Desk *Desk
	// Out is told each block.
	Out io.Writer
}

// anotherCluster is the heading of that section.
const anotherCluster = "Restore in another cluster"

// Install builds the new cluster up: the password from the copy of the old desk, then this project by docs/install.md,
// without making a password, then the location read-only.
func (a Another) Install(ctx context.Context, old *Desk) error {
	copied, err := os.ReadFile(filepath.Join(old.Folder(), PasswordFile))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(a.Desk.Folder(), PasswordFile), copied, 0o600); err != nil {
		return err
	}
	if err := a.step(ctx, "--from-file=repository-password", nil); err != nil {
		return err
	}
	guide := installation()
	const password = "create secret generic velero-restic-credentials"
	guide.Left = append(guide.Left, Left{Block: password, Reason: "the page says so for another cluster"})
	guide.Checks = slices.DeleteFunc(guide.Checks, func(c Check) bool { return strings.Contains(c.Block, password) })
	if err := a.Desk.Walk(ctx, guide, "Uninstall", a.Out); err != nil {
		return err
	}
	return a.step(ctx, `"accessMode":"ReadOnly"`, nil)
}

// Restore restores a backup, and has the location written to again.
func (a Another) Restore(ctx context.Context, backup string) error {
	return a.step(ctx, "velero backup get", map[string]string{"NAME": backup})
}

func (a Another) step(ctx context.Context, block string, replace map[string]string) error {
	guide := Guide{File: "docs/restore.md", Only: &Only{Section: anotherCluster, Block: block}, Replace: replace}
	return a.Desk.Walk(ctx, guide, "", a.Out)
}
