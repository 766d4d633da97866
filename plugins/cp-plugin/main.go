// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Command cp-plugin puts the plugin where Velero looks for plugins.
//
// Velero starts the plugin's image as an init container with an empty volume at /target, and later runs what it finds
// there. The image has no shell and no cp, hence this.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

func main() {
	source, target := "/plugins", "/target"
	switch len(os.Args) {
	case 1:
	case 3:
		source, target = os.Args[1], os.Args[2]
	default:
		fmt.Fprintln(os.Stderr, "usage: cp-plugin [SOURCE TARGET]")
		fmt.Fprintln(os.Stderr, "copies every file in SOURCE (/plugins) to TARGET (/target)")
		os.Exit(2)
	}
	copied, err := copyAll(source, target)
	for _, name := range copied {
		fmt.Println("installed", filepath.Join(target, name))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cp-plugin:", err)
		os.Exit(1)
	}
}

// copyAll copies the regular files directly in source and returns their names. A source without any is an error: Velero
// would start without the plugin and only notice at the next backup.
func copyAll(source, target string) ([]string, error) {
	entries, err := os.ReadDir(source)
	if err != nil {
		return nil, fmt.Errorf("reading the plugins of this image: %w", err)
	}
	var copied []string
	for _, entry := range entries {
		if !entry.Type().IsRegular() {
			continue
		}
		if err := install(filepath.Join(source, entry.Name()), target); err != nil {
			return copied, fmt.Errorf("installing %s: %w", entry.Name(), err)
		}
		copied = append(copied, entry.Name())
	}
	if len(copied) == 0 {
		return nil, fmt.Errorf("%s holds no file to install", source)
	}
	return copied, nil
}

// install copies one file beside its destination and renames it, since a file that runs cannot be written to ("text
// file busy") and one half written must not be run. The copy becomes executable last: Velero takes every executable
// file in the directory for a plugin, so one left by an interrupted run must not be one. The next run replaces it.
func install(source, target string) (err error) {
	name := filepath.Base(source)
	temporary := filepath.Join(target, "."+name+".partial")
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // read only: nothing can be lost
	out, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Sync(), out.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	if err := os.Chmod(temporary, 0o755); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return os.Rename(temporary, filepath.Join(target, name))
}
