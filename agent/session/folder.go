// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package session

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mount is a line of the kernel's table of mounts.
type mount struct {
	// root is the folder of the file system that is mounted; point is where.
	root, point string
	// kind is the file system's, such as nfs4.
	kind string
}

// folder is where repositories are that restic reaches as files.
type folder struct {
	path string
	// mounted is the mount that it is in.
	mounted mount
}

// findFolder makes sure that the folder is there and is in something that was mounted. In a container that has lost its
// mount, restic would write to the container's own disk, or find nothing and make an empty repository in place of the
// full one. The error is a *NotUsableError.
func findFolder(mountInfo, path string) (folder, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return folder{}, &NotUsableError{fmt.Sprintf("the folder %s, which is to hold the repositories, is not there: "+
			"mount the storage into DaemonSet restic (a volume and a volumeMount of container restic), and make the "+
			"folder on it; none is made by itself, since a storage that is not mounted must not be taken for an "+
			"empty one", path)}
	}
	resolved, err := filepath.EvalSymlinks(path)
	if err != nil {
		return folder{}, fmt.Errorf("following links in %s: %w", path, err)
	}
	content, err := os.ReadFile(mountInfo)
	if err != nil {
		return folder{}, fmt.Errorf("reading the table of mounts: %w", err)
	}
	found := folder{path: resolved, mounted: mountOf(string(content), resolved)}
	if found.mounted.point == "/" || found.mounted.point == "" {
		return folder{}, &NotUsableError{fmt.Sprintf("the folder %s, which is to hold the repositories, is on the "+
			"container's own disk, which is gone with the container: mount the storage into DaemonSet restic (a "+
			"volume and a volumeMount of container restic)", path)}
	}
	return found, nil
}

// CheckEmptyFolder returns a *NotUsableError if it cannot be told whether a folder is an empty storage or one that is
// not mounted: where nobody can, no repository must be made. It returns nil for repositories that are no files.
func (s *Session) CheckEmptyFolder() error {
	if s.folder.path == "" || s.folder.path != s.folder.mounted.point || !s.folder.mounted.isPart() {
		// A folder in the mounted file system is a sign that it is the right one: somebody has made it there.
		return nil
	}
	entries, err := os.ReadDir(s.folder.path)
	if err != nil {
		return fmt.Errorf("looking into %s: %w", s.folder.path, err)
	}
	if len(entries) > 0 {
		return nil
	}
	return &NotUsableError{fmt.Sprintf("%s is an empty folder of a node's disk (%s) and may be the place of a storage "+
		"that is not mounted there, so no repository is made in it: make a folder on the storage and name that, such "+
		"as %s/restic", s.folder.path, s.folder.mounted.kind, s.folder.path)}
}

// isPart says whether a folder of a local file system is mounted, and not a whole file system or one of the network:
// the folder of the node where a storage should be is that.
func (m mount) isPart() bool {
	network := []string{
		"nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "glusterfs", "lustre", "beegfs", "gpfs",
	}
	return m.root != "/" && !slices.Contains(network, m.kind) && !strings.HasPrefix(m.kind, "fuse")
}

// mountOf returns the mount that a path is in: the last one of the longest place that the path begins with. The format
// is that of proc(5), /proc/pid/mountinfo.
func mountOf(table, path string) mount {
	var best mount
	for line := range strings.Lines(table) {
		before, after, found := strings.Cut(line, " - ")
		fields, more := strings.Fields(before), strings.Fields(after)
		if !found || len(fields) < 5 || len(more) == 0 {
			continue
		}
		point := unescape(fields[4])
		inside := point == "/" || path == point || strings.HasPrefix(path, point+"/")
		if inside && len(point) >= len(best.point) {
			best = mount{root: unescape(fields[3]), point: point, kind: more[0]}
		}
	}
	return best
}

// unescape turns the four characters that the kernel writes in octal into themselves.
func unescape(field string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(field)
}
