// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package hostpath

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountPoint says whether something is mounted on the path in this process's view. It asks the kernel about the path
// itself (statx, Linux >= 5.8): comparing devices with the parent's, as mountpoint(1) does, misses bind mounts of the
// same file system, which local volumes are.
func mountPoint(path string) (bool, error) {
	var stat unix.Statx_t
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if err := unix.Statx(unix.AT_FDCWD, path, flags, unix.STATX_TYPE, &stat); err != nil {
		return false, err
	}
	if stat.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT == 0 {
		return true, nil // a kernel that cannot tell
	}
	return stat.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// MountWarning says what is unfit about the way in which the volume's directory, which Find returned, is mounted;
// nothing if it is fit, or cannot be told.
//
// SMB shares claim to have extended attributes, and servers such as Azure Files fail to answer for them, which restic
// reports for each file (restic issue 1800). The mount option nouser_xattr mends it, and is shown among the options.
func (f Finder) MountWarning(dir string, volume Volume) string {
	mounts := f.Mounts
	if mounts == nil {
		mounts = func() ([]byte, error) { return os.ReadFile("/proc/self/mountinfo") }
	}
	table, err := mounts()
	if err != nil {
		return "" // a hint, and nothing that a backup depends on
	}
	m := mountOf(string(table), dir)
	if m.kind != "cifs" && m.kind != "smb3" || slices.Contains(m.options, "nouser_xattr") {
		return ""
	}
	return fmt.Sprintf("the volume is mounted by %s without the option nouser_xattr, so that reading extended "+
		"attributes may fail for each file: add nouser_xattr to mountOptions of %s, and start the pod anew",
		m.kind, mountSource(volume))
}

// mountSource names the objects that decide on the volume's mount options.
func mountSource(volume Volume) string {
	if volume.PV == nil {
		return "the volume"
	}
	source := "PersistentVolume " + volume.PV.Name
	if class := volume.PV.Spec.StorageClassName; class != "" {
		source = "StorageClass " + class + " for new volumes and of " + source + " for this one"
	}
	return source
}

// mount is one line of a mount table.
type mount struct {
	kind    string
	options []string
}

// mountOf finds the mount that the path is on: the one with the longest mount point, and of several on the same the
// last, which covers the others. The format is that of /proc/PID/mountinfo (proc(5)).
func mountOf(table, path string) mount {
	var found mount
	longest := -1
	for line := range strings.Lines(table) {
		before, after, _ := strings.Cut(line, " - ")
		place, source := strings.Fields(before), strings.Fields(after)
		if len(place) < 6 || len(source) < 3 {
			continue
		}
		point := strings.TrimSuffix(unescape(place[4]), "/")
		if path != point && !strings.HasPrefix(path, point+"/") || len(point) < longest {
			continue
		}
		longest = len(point)
		found = mount{kind: source[0], options: strings.Split(source[2], ",")}
	}
	return found
}

// unescape decodes the octal numbers for which blanks, line ends and backslashes stand in a mount table.
func unescape(text string) string {
	var plain strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if code, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				plain.WriteByte(byte(code))
				i += 3
				continue
			}
		}
		plain.WriteByte(text[i])
	}
	return plain.String()
}
