// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package hostpath

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// The markers are written by root into a directory that is somebody else's. Whatever is there in their place is neither
// followed nor written into: a link, a file, a pipe. The name contract.MarkerDir is reserved for them.
const (
	markerDirMode  = 0o755
	markerFileMode = 0o644
)

// searchable lets every user open a directory and reach what is in it. The group counts, too: a container whose user
// has no group of its own is in group 0, and so is the root of a fresh volume.
const searchable = 0o055

// PrepareMarkers makes the folder of the markers and lets every user reach it through the volume's root. The helper is
// nobody in particular: it opens the folder as soon as it is there, and so sees the markers even where the root shuts
// it out again later. restore puts the root's mode back as it was found; it is nil where that was open already.
func PrepareMarkers(volumeDir string) (restore func() error, err error) {
	err = withVolume(volumeDir, func(root *os.Root) error {
		info, err := root.Stat(".")
		if err != nil {
			return err
		}
		if mode := info.Mode(); mode&searchable != searchable {
			err := os.Chmod(volumeDir, mode|searchable)
			switch {
			case err == nil:
				restore = func() error { return os.Chmod(volumeDir, mode) }
			case !refused(err):
				return err
			}
		}
		dir, err := makeMarkerDir(root)
		if err != nil {
			return err
		}
		return dir.Close()
	})
	if err == nil {
		return restore, nil
	}
	err = fmt.Errorf("preparing the markers in %s: %w", volumeDir, err)
	if restore != nil {
		err = errors.Join(err, restore())
	}
	return nil, err
}

// Flush has the kernel write the volume's data to its storage, which can fail for data that restic could write without
// an error. It may take as long as the storage does.
func Flush(volumeDir string) error {
	err := withVolume(volumeDir, flush)
	if err != nil {
		return fmt.Errorf("flushing the restored data in %s: %w", volumeDir, err)
	}
	return nil
}

// Marked returns when the helper was last told, by either marker, how the restore went: the zero time if it was not.
func Marked(volumeDir, restoreUID string) (marked time.Time, err error) {
	err = withMarkers(volumeDir, restoreUID, func(root *os.Root) error {
		for _, marker := range []string{contract.DoneMarker(restoreUID), contract.FailedMarker(restoreUID)} {
			info, err := root.Lstat(marker)
			if err == nil && info.ModTime().After(marked) {
				marked = info.ModTime()
			}
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("looking for the markers in %s: %w", volumeDir, err)
	}
	return marked, nil
}

// WriteDone tells the helper that the volume was restored. It may be called again.
func WriteDone(volumeDir, restoreUID string) error {
	err := withMarkers(volumeDir, restoreUID, func(root *os.Root) error {
		return writeMarker(root, path.Base(contract.DoneMarker(restoreUID)), "")
	})
	if err != nil {
		return fmt.Errorf("marking the volume in %s as restored: %w", volumeDir, err)
	}
	return nil
}

// WriteFailed tells the helper that the volume was not restored, and why. The reason is cut to
// contract.MarkerReasonMax bytes. It may be called again; the last reason counts.
func WriteFailed(volumeDir, restoreUID, reason string) error {
	if len(reason) > contract.MarkerReasonMax {
		reason = strings.ToValidUTF8(reason[:contract.MarkerReasonMax], "")
	}
	err := withMarkers(volumeDir, restoreUID, func(root *os.Root) error {
		return writeMarker(root, path.Base(contract.FailedMarker(restoreUID)), reason)
	})
	if err != nil {
		return fmt.Errorf("marking the volume in %s as not restored: %w", volumeDir, err)
	}
	return nil
}

// RemoveMarkers removes what WriteDone and WriteFailed wrote, and nothing else. It may be called again.
func RemoveMarkers(volumeDir, restoreUID string) error {
	err := withMarkers(volumeDir, restoreUID, func(root *os.Root) error {
		if !realDir(root, contract.MarkerDir) {
			return nil
		}
		dir, err := openMarkerDir(root)
		if err != nil {
			return err
		}
		defer func() { _ = dir.Close() }() // a handle on a directory: nothing can be lost
		for _, marker := range []string{contract.DoneMarker(restoreUID), contract.FailedMarker(restoreUID)} {
			for _, name := range []string{path.Base(marker), temporary(path.Base(marker))} {
				if err := removeMarker(dir, name); err != nil {
					return err
				}
			}
		}
		err = root.Remove(contract.MarkerDir)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
			return nil // removed by the helper, or of use to somebody else
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("removing the markers from %s: %w", volumeDir, err)
	}
	return nil
}

// withMarkers is withVolume for the markers of a restore, whose UID becomes part of a path.
func withMarkers(volumeDir, restoreUID string, do func(root *os.Root) error) error {
	if !safeName(restoreUID) {
		return fmt.Errorf("%q is not the UID of a restore", restoreUID)
	}
	return withVolume(volumeDir, do)
}

// withVolume runs the function in the volume's root directory, and puts that directory's times back afterwards: it
// has those of the backup.
func withVolume(volumeDir string, do func(root *os.Root) error) error {
	root, err := os.OpenRoot(volumeDir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // a handle on a directory: nothing can be lost
	var before unix.Stat_t
	if err := unix.Stat(volumeDir, &before); err != nil {
		return &os.PathError{Op: "stat", Path: volumeDir, Err: err}
	}
	err = do(root)
	var after unix.Stat_t
	if unix.Stat(volumeDir, &after) == nil && after.Mtim != before.Mtim {
		// The marker matters more than a time. Storage that refuses to set it has refused it to restic before, and
		// restic has told of it.
		_ = unix.UtimesNanoAt(unix.AT_FDCWD, volumeDir, []unix.Timespec{before.Atim, before.Mtim}, 0)
	}
	return err
}

// flush has the kernel write the file system of the volume to its storage.
func flush(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // a handle on a directory: nothing can be lost
	err = unix.Syncfs(int(dir.Fd()))
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil // a file system that has no such thing
	}
	return err
}

// writeMarker puts the marker there as a whole, so that the helper never reads half a reason.
func writeMarker(root *os.Root, name, content string) error {
	dir, err := makeMarkerDir(root)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // a handle on a directory: nothing can be lost
	draft := temporary(name)
	if err := removeMarker(dir, draft); err != nil {
		return err
	}
	// O_EXCL makes a new file or none: it follows no link and opens no pipe.
	file, err := dir.OpenFile(draft, os.O_WRONLY|os.O_CREATE|os.O_EXCL, markerFileMode)
	if err != nil {
		return err
	}
	_, err = file.WriteString(content)
	err = errors.Join(err, setMode(file.Stat, file.Chmod, markerFileMode), file.Close()) // whatever the umask is
	if err == nil {
		err = replaceMarker(dir, draft, name)
	}
	if err != nil {
		return errors.Join(err, removeMarker(dir, draft))
	}
	return nil
}

// replaceMarker gives the draft its name. Only a directory of that name stands in the way.
func replaceMarker(dir *os.Root, draft, name string) error {
	if realDir(dir, name) {
		if err := dir.RemoveAll(name); err != nil {
			return err
		}
	}
	return dir.Rename(draft, name)
}

// makeMarkerDir returns the directory of the markers, after making it if need be. What is there in its place goes.
func makeMarkerDir(root *os.Root) (*os.Root, error) {
	info, err := root.Lstat(contract.MarkerDir)
	if err == nil && !info.IsDir() {
		if err := root.Remove(contract.MarkerDir); err != nil {
			return nil, err
		}
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	if err := root.Mkdir(contract.MarkerDir, markerDirMode); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	dir, err := openMarkerDir(root)
	if err != nil {
		return nil, err
	}
	// The helper is not root and must be able to read it, whatever the umask is, and whoever made it.
	stat := func() (os.FileInfo, error) { return dir.Stat(".") }
	chmod := func(mode os.FileMode) error { return dir.Chmod(".", mode) }
	if err := setMode(stat, chmod, markerDirMode); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

// setMode gives a marker its permissions. Storage that knows none of its own, or lets nobody change them, may refuse
// that: then the helper sees what it can.
func setMode(stat func() (os.FileInfo, error), chmod func(os.FileMode) error, mode os.FileMode) error {
	info, err := stat()
	if err != nil {
		return err
	}
	if info.Mode()&^os.ModeDir == mode {
		return nil
	}
	if err := chmod(mode); err != nil && !refused(err) {
		return err
	}
	return nil
}

// refused says whether storage does not let this be changed, such as NFS that takes root for nobody, SMB, or FUSE.
func refused(err error) bool {
	return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) ||
		errors.Is(err, unix.EINVAL)
}

// openMarkerDir opens the directory of the markers, and makes sure that it is that and not what a link, put there in
// this very moment, leads to.
func openMarkerDir(root *os.Root) (*os.Root, error) {
	dir, err := root.OpenRoot(contract.MarkerDir)
	if err != nil {
		return nil, err
	}
	opened, err := dir.Stat(".")
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	named, err := root.Lstat(contract.MarkerDir)
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	if !os.SameFile(opened, named) {
		return nil, errors.Join(fmt.Errorf("%s is not a directory of its own", contract.MarkerDir), dir.Close())
	}
	return dir, nil
}

// removeMarker removes the entry if it is there. A directory is none of ours and stays.
func removeMarker(dir *os.Root, name string) error {
	if realDir(dir, name) {
		return nil
	}
	if err := dir.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// temporary is a marker's name while it is being written.
func temporary(name string) string { return name + ".new" }
