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

// Unpack unpacks a Debian package without installing it, and returns the root directory of its files.
//
// Use it for packages whose installation would change the machine: Debian's prometheus starts a server, immediately and
// at every boot. The directory has only the files of the package itself, without its dependencies. Unpack downloads a
// package once, and keeps it in folder, which it creates. Several calls may run at the same time.
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
	defer func() { _ = os.RemoveAll(scratch) }() // an error leaves only temporary files
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

// download downloads the package. If that fails, it updates the package lists, which needs root, and tries again.
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
