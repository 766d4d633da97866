// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package sandbox confines one thread, and the process that it starts, to a few files and directories.
//
// The owner of a volume can replace a directory with a symbolic link while restic works in it. restic opens files by
// path, so it would follow the link to another pod's volume, or to the passwords of this node's repositories. In the
// sandbox two walls stop this:
//
//   - The thread has a mount namespace and a root directory of its own. They contain only the paths that the caller
//     lists, so that a link has nothing to lead to.
//   - An untrusted directory is mounted with nosymfollow (Linux 5.10, mount(8)): the kernel refuses every path through
//     a symbolic link in it with ELOOP, for reading, writing and changing metadata. lstat and readlink still work, so
//     restic backs up the links themselves.
//
// The thread then gives up the capabilities that it needed to build the sandbox.
package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrUnavailable means that this process or this kernel cannot build a sandbox: CAP_SYS_ADMIN or CAP_SYS_CHROOT is
// missing, a security module or a seccomp profile refuses mount(2), or Linux is older than 5.10.
var ErrUnavailable = errors.New("no private mount namespace")

// Path is a file or directory that exists in a sandbox, under the name that it has outside.
type Path struct {
	// Name is absolute. Symbolic links in it are followed outside of the sandbox; only list what tenants cannot change.
	Name string
	// Writable allows writing. Without it, the path is mounted read-only.
	Writable bool
	// Untrusted marks a directory whose content can change at any moment at a tenant's will: no symbolic link in it is
	// followed. Mounts below it are left out.
	Untrusted bool
	// Optional skips a path that does not exist.
	Optional bool
}

// Run calls do on a thread that sees nothing but the paths, below a new root directory. A process that do starts
// inherits the sandbox. base is an existing directory that becomes the mount point of the new root in the thread's
// namespace; other threads see no change in it, so that all calls can share it.
//
// Run returns ErrUnavailable without having called do if there can be no sandbox, another error if a path cannot be
// mounted, and otherwise what do returns. do must not start goroutines that open files.
func Run(base string, paths []Path, do func() error) error {
	result := make(chan error, 1)
	go func() { result <- onOwnThread(func() error { return run(base, paths, do) }) }()
	return <-result
}

// onOwnThread calls do on a thread that ends with the calling goroutine, since nothing unlocks it. The first thread of
// the process cannot end, and /proc/self shows its namespace and root: it stays as it is.
func onOwnThread(do func() error) error {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		return do()
	}
	defer runtime.UnlockOSThread()
	result := make(chan error, 1)
	go func() { result <- onOwnThread(do) }()
	return <-result
}

func run(base string, paths []Path, do func() error) error {
	// Root and working directory are shared by the threads of a process, unless one of them opts out (CLONE_FS).
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return unavailable("unshare", err)
	}
	// No mount of the sandbox reaches the container or the node. What the node unmounts still disappears here, too:
	// otherwise the copies of other pods' mounts would keep their storage busy for as long as restic runs.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return unavailable("separating the mount namespace", err)
	}
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	if err := unix.Mount("tmpfs", base, "tmpfs", flags, "mode=0755,size=1m"); err != nil {
		return unavailable("mounting the sandbox's root", err)
	}
	for _, path := range parentsFirst(paths) {
		if err := add(base, path); err != nil {
			return err
		}
	}
	if err := enter(base); err != nil {
		return err
	}
	if err := dropCapabilities(); err != nil {
		return err
	}
	return do()
}

// unavailable marks errors that no retry and no other volume changes.
func unavailable(doing string, err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENOSYS) ||
		errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, doing, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// add mounts a path at the same place below the new root.
func add(root string, path Path) error {
	if !filepath.IsAbs(path.Name) {
		return fmt.Errorf("path %q of a sandbox is not absolute", path.Name)
	}
	info, err := os.Stat(path.Name)
	if path.Optional && errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	place := filepath.Join(root, path.Name)
	if err := makePlace(place, info.IsDir()); err != nil {
		return fmt.Errorf("preparing %s in the sandbox: %w", path.Name, err)
	}
	if err := unix.Mount(path.Name, place, "", unix.MS_BIND, ""); err != nil {
		return unavailable("mounting "+path.Name+" in the sandbox", err)
	}
	return restrict(place, path)
}

// makePlace makes the mount point: an empty file or directory. There is one already if the path lies in a directory
// that is mounted, perhaps read-only.
func makePlace(place string, isDir bool) error {
	if isDir {
		return os.MkdirAll(place, 0o755)
	}
	if _, err := os.Lstat(place); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(place, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return file.Close()
}

// statNoSymFollow is ST_NOSYMFOLLOW of statfs(2) (Linux, include/linux/statfs.h).
const statNoSymFollow = 0x2000

// restrict sets the options of a bind mount, which begins without any restriction of its own.
func restrict(place string, path Path) error {
	var before unix.Statfs_t
	if err := unix.Statfs(place, &before); err != nil {
		return fmt.Errorf("reading the mount options of %s: %w", path.Name, err)
	}
	flags := uintptr(unix.MS_BIND | unix.MS_REMOUNT | unix.MS_NOSUID)
	if !isDevice(place) {
		flags |= unix.MS_NODEV
	}
	// A mount that was read-only must stay so: the volume of a pod may be. So must one without access times.
	for statfsFlag, mountFlag := range inheritedFlags() {
		if int64(before.Flags)&statfsFlag != 0 {
			flags |= mountFlag
		}
	}
	if !path.Writable {
		flags |= unix.MS_RDONLY
	}
	if path.Untrusted {
		flags |= unix.MS_NOSYMFOLLOW
	}
	if err := unix.Mount("", place, "", flags, ""); err != nil {
		return unavailable("restricting "+path.Name+" in the sandbox", err)
	}
	if !path.Untrusted {
		return nil
	}
	// Kernels before 5.10 pass over a flag that they do not know.
	var after unix.Statfs_t
	if err := unix.Statfs(place, &after); err != nil {
		return fmt.Errorf("reading the mount options of %s: %w", path.Name, err)
	}
	if int64(after.Flags)&statNoSymFollow == 0 {
		return fmt.Errorf("%w: this kernel has no mount option nosymfollow, which came with Linux 5.10", ErrUnavailable)
	}
	return nil
}

func inheritedFlags() map[int64]uintptr {
	return map[int64]uintptr{
		unix.ST_RDONLY: unix.MS_RDONLY, unix.ST_NOATIME: unix.MS_NOATIME, unix.ST_NODIRATIME: unix.MS_NODIRATIME,
		unix.ST_RELATIME: unix.MS_RELATIME,
	}
}

func isDevice(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&os.ModeDevice != 0
}

// enter makes the directory the thread's root. pivot_root(2) would do, too, but container runtimes' default seccomp
// profiles do not allow it.
func enter(root string) error {
	// Last, since the mount points above had to be made.
	if err := unix.Mount("", root, "", unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return unavailable("making the sandbox's root read-only", err)
	}
	if err := unix.Chdir(root); err != nil {
		return fmt.Errorf("entering the sandbox: %w", err)
	}
	if err := unix.Mount(root, "/", "", unix.MS_MOVE, ""); err != nil {
		return unavailable("moving the sandbox's root", err)
	}
	if err := unix.Chroot("."); err != nil {
		return unavailable("entering the sandbox", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("entering the sandbox: %w", err)
	}
	return nil
}

// KeptCapabilities are what restic needs to read and to restore any file with its owner, mode, attributes and devices.
// The sandbox takes away all others, among them those that could undo it.
func KeptCapabilities() []int {
	return []int{
		unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_FSETID,
		unix.CAP_MKNOD, unix.CAP_SETFCAP,
	}
}

// dropCapabilities leaves KeptCapabilities to the thread, as far as it has them, and keeps what it starts from getting
// others: with no_new_privs, a program that root executes has no more capabilities than the thread that executes it
// (Linux, security/commoncap.c, cap_bprm_creds_from_file).
func dropCapabilities() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("setting no_new_privs: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("reading capabilities: %w", err)
	}
	var kept [2]uint32
	for _, capability := range KeptCapabilities() {
		kept[capability/32] |= 1 << (capability % 32)
	}
	for i := range data {
		data[i].Permitted &= kept[i]
		data[i].Effective &= kept[i]
		data[i].Inheritable = 0
	}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("giving up capabilities: %w", err)
	}
	return nil
}

// parentsFirst orders paths so that a directory is mounted before what lies in it, and leaves out repeated ones. Of two
// with the same name the first counts.
func parentsFirst(paths []Path) []Path {
	sorted := slices.Clone(paths)
	slices.SortStableFunc(sorted, func(a, b Path) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(sorted, func(a, b Path) bool { return a.Name == b.Name })
}
