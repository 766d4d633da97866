// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// Unpack gives the files of a Debian package without installing it, and returns the folder that stands for their root.
//
// It is for packages whose installation would change the machine more than a test may: Debian's prometheus starts a
// server, at once and at every boot. Only what the package itself has is there; its dependencies are not. It is
// downloaded once: folder, which is made, keeps it. Two that unpack at the same time do not disturb each other.
func Unpack(ctx context.Context, out io.Writer, folder, debian string) (string, error) {
	root := filepath.Join(folder, debian)
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	fmt.Fprintf(out, "downloading Debian package %s\n", debian)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", fmt.Errorf("unpacking %s: %w", debian, err)
	}
	scratch, err := os.MkdirTemp(folder, "."+debian+"-")
	if err != nil {
		return "", fmt.Errorf("unpacking %s: %w", debian, err)
	}
	defer func() { _ = os.RemoveAll(scratch) }() // what is left of it disturbs nobody
	if err := download(ctx, scratch, debian); err != nil {
		return "", fmt.Errorf("downloading %s: %w", debian, err)
	}
	archives, err := filepath.Glob(filepath.Join(scratch, "*.deb"))
	if err != nil || len(archives) != 1 {
		return "", fmt.Errorf("downloading %s: got %q, want one archive", debian, archives)
	}
	files := filepath.Join(scratch, "root")
	if said, err := exec.CommandContext(ctx, "dpkg-deb", "--extract", archives[0], files).CombinedOutput(); err != nil {
		return "", fmt.Errorf("unpacking %s: %w: %s", debian, err, said)
	}
	if err := os.Rename(files, root); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("unpacking %s: %w", debian, err)
	}
	return root, nil
}

// download asks for the package, and only if that is in vain for fresh lists of what there is, which takes root.
func download(ctx context.Context, folder, debian string) error {
	ask := func() error {
		cmd := exec.CommandContext(ctx, "apt-get", "download", "-q", debian)
		cmd.Dir = folder
		if said, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, said)
		}
		return nil
	}
	if ask() == nil {
		return nil
	}
	if err := apt(ctx, "update", "-q"); err != nil {
		return fmt.Errorf("updating the package lists: %w", err)
	}
	return ask()
}
