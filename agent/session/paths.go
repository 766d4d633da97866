// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package session

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/velero-restic/velero-plugin-for-restic/internal/repository"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/sandbox"
)

// paths lists what restic must reach for a repository, and nothing else: in its sandbox, other sessions, other pods'
// volumes and the token of the agent's service account do not exist.
func (o *Opener) paths(access repository.Access, target restic.Repository, dir string) []sandbox.Path {
	paths := []sandbox.Path{
		{Name: dir, Writable: true},
		{Name: target.CacheDir, Writable: true},
	}
	if access.Folder != "" {
		paths = append(paths, sandbox.Path{Name: access.Folder, Writable: true, Optional: true})
	}
	if access.SFTP != nil {
		paths = append(paths, sandbox.Path{Name: o.Program})
	}
	for _, name := range o.ExtraPaths {
		paths = append(paths, sandbox.Path{Name: name, Optional: true})
	}
	for _, entry := range target.Env {
		name, value, _ := strings.Cut(entry, "=")
		values := []string{value}
		if name == "PATH" {
			values = filepath.SplitList(value)
		}
		for _, value := range values {
			if path, ok := o.readable(value); ok && !inside(path, dir) {
				paths = append(paths, sandbox.Path{Name: path, Optional: true})
			}
		}
	}
	return paths
}

// readable returns what makes the value of an environment variable readable, if that is the path of something: a token
// or a certificate, for instance. The kubelet replaces the content of Secrets and tokens by a symbolic link in their
// folder, so that such a file is only up to date together with its folder.
func (o *Opener) readable(value string) (path string, ok bool) {
	if !filepath.IsAbs(value) {
		return "", false
	}
	info, err := os.Lstat(value)
	if err != nil {
		return "", false
	}
	path = filepath.Clean(value)
	if info.Mode()&os.ModeSymlink != 0 {
		path = filepath.Dir(path)
	}
	// No variable opens the folders of all sessions or of all volumes, as "/" would.
	closed := append([]string{o.ScratchDir, "/proc", "/sys", "/dev"}, o.ClosedPaths...)
	conflicts := func(folder string) bool {
		return folder != "" && (inside(folder, path) || inside(path, folder))
	}
	return path, !slices.ContainsFunc(closed, conflicts)
}

// inside reports whether a path is a folder or lies in it.
func inside(path, folder string) bool {
	relative, err := filepath.Rel(folder, path)
	return err == nil && relative != ".." && !strings.HasPrefix(relative, "../")
}
