// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package hostpath

import "golang.org/x/sys/unix"

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
