// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package hostpath

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// ErrBadAttributes says that the tags of a snapshot about the volume's root directory cannot be understood.
var ErrBadAttributes = errors.New("bad attributes of the volume's root directory")

const (
	// modeMask is the permissions, with the bits for the group of new files and for sticky directories.
	modeMask = 0o7777
	// tagRootPrefix begins all tags about the root directory.
	tagRootPrefix = "root-"
	// xattrsMax bounds the tag of the extended attributes, in bytes. Linux takes arguments of a program up to 128 KiB
	// each (MAX_ARG_STRLEN).
	xattrsMax = 96 << 10
)

// ReadRootAttributes returns the attributes of the volume's root directory as tags for its snapshot.
func ReadRootAttributes(dir string) (map[string]string, error) {
	var stat unix.Stat_t
	if err := unix.Lstat(dir, &stat); err != nil {
		return nil, &os.PathError{Op: "lstat", Path: dir, Err: err}
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil, &os.PathError{Op: "lstat", Path: dir, Err: unix.ENOTDIR}
	}
	tags := map[string]string{
		contract.TagRootMode: fmt.Sprintf("%04o", stat.Mode&modeMask),
		contract.TagRootUID:  strconv.FormatUint(uint64(stat.Uid), 10),
		contract.TagRootGID:  strconv.FormatUint(uint64(stat.Gid), 10),
		contract.TagRootTime: time.Unix(stat.Mtim.Unix()).UTC().Format(time.RFC3339Nano),
	}
	attributes, err := readXattrs(dir)
	if err != nil || len(attributes) == 0 {
		return tags, err
	}
	document, err := json.Marshal(attributes) // a []byte becomes base64
	if err != nil {
		return nil, fmt.Errorf("encoding the extended attributes of %s: %w", dir, err)
	}
	encoded := base64.StdEncoding.EncodeToString(document)
	if len(encoded) > xattrsMax {
		return nil, fmt.Errorf("the extended attributes of %s take %d bytes, and a snapshot can keep %d of its root: "+
			"remove some with setfattr", dir, len(encoded), xattrsMax)
	}
	tags[contract.TagRootXattrs] = encoded
	return tags, nil
}

// ApplyRootAttributes sets the attributes of the volume's root directory from the tags of a snapshot. What the tags do
// not have stays; other tags are none of its business. With ErrBadAttributes nothing was set. Other errors name all
// that the storage refused; the rest was set.
func ApplyRootAttributes(dir string, tags map[string]string) error {
	wanted, err := parseRootAttributes(tags)
	if err != nil {
		return err
	}
	handle, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer func() { _ = unix.Close(handle) }() // a handle on a directory: nothing can be lost

	var problems []error
	try := func(what string, err error) {
		if err != nil {
			problems = append(problems, fmt.Errorf("setting the %s of %s: %w", what, dir, err))
		}
	}
	// The order matters: a change of owner takes bits off the permissions, these change an access list, and all of
	// them come before the time, though they leave it alone on most storage.
	if wanted.uid >= 0 || wanted.gid >= 0 {
		try("owner", unix.Fchown(handle, wanted.uid, wanted.gid))
	}
	if wanted.mode >= 0 {
		try("permissions", unix.Fchmod(handle, uint32(wanted.mode))) //nolint:gosec // parsed as 12 bits
	}
	for _, name := range slices.Sorted(maps.Keys(wanted.xattrs)) {
		try("extended attribute "+name, unix.Fsetxattr(handle, name, wanted.xattrs[name], 0))
	}
	if !wanted.time.IsZero() {
		mtime, err := unix.TimeToTimespec(wanted.time)
		if err == nil {
			times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, mtime}
			err = unix.UtimesNanoAt(unix.AT_FDCWD, dir, times, unix.AT_SYMLINK_NOFOLLOW)
		}
		try("modification time", err)
	}
	return errors.Join(problems...)
}

// rootAttributes are the parsed tags. -1, the zero time and nil mean that there is no such tag.
type rootAttributes struct {
	mode, uid, gid int
	time           time.Time
	xattrs         map[string][]byte
}

func parseRootAttributes(tags map[string]string) (rootAttributes, error) {
	parsed := rootAttributes{mode: -1, uid: -1, gid: -1}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		if !strings.HasPrefix(key, tagRootPrefix) {
			continue
		}
		var err error
		switch value := tags[key]; key {
		case contract.TagRootMode:
			parsed.mode, err = parseNumber(value, 8, 12)
		case contract.TagRootUID:
			parsed.uid, err = parseID(value)
		case contract.TagRootGID:
			parsed.gid, err = parseID(value)
		case contract.TagRootTime:
			parsed.time, err = time.Parse(time.RFC3339Nano, value)
		case contract.TagRootXattrs:
			parsed.xattrs, err = parseXattrs(value)
		default:
			err = errors.New("this version does not know it: restore with the version that took the backup, or newer")
		}
		if err != nil {
			return rootAttributes{}, fmt.Errorf("%w: tag %s: %w", ErrBadAttributes, key, err)
		}
	}
	return parsed, nil
}

func parseNumber(text string, base, bits int) (int, error) {
	number, err := strconv.ParseUint(text, base, bits)
	return int(number), err //nolint:gosec // at most 32 bits
}

// parseID reads a number of an owner. The highest one means "leave it" to the kernel.
func parseID(text string) (int, error) {
	id, err := parseNumber(text, 10, 32)
	if err == nil && id == 1<<32-1 {
		err = fmt.Errorf("%q stands for nobody", text)
	}
	return id, err
}

func parseXattrs(text string) (map[string][]byte, error) {
	document, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	var attributes map[string][]byte
	if err := json.Unmarshal(document, &attributes); err != nil {
		return nil, err
	}
	for name := range attributes {
		if !portableXattr(name) {
			return nil, fmt.Errorf("extended attribute %q must not come from a backup", name)
		}
	}
	return attributes, nil
}

// portableXattr says whether an extended attribute means the same on another volume. Those of security modules belong
// to the node and the pod: a label of SELinux is set by the kubelet. Those of overlayfs are its own bookkeeping.
func portableXattr(name string) bool {
	return name != "" && !strings.ContainsRune(name, 0) &&
		!strings.HasPrefix(name, "security.") && !strings.HasPrefix(name, "trusted.overlay.")
}

// readXattrs returns the extended attributes of the directory, access lists among them. A file system without any has
// none.
func readXattrs(dir string) (map[string][]byte, error) {
	names, err := growing(func(buffer []byte) (int, error) { return unix.Llistxattr(dir, buffer) })
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the extended attributes of %s: %w", dir, err)
	}
	attributes := map[string][]byte{}
	for name := range strings.SplitSeq(strings.TrimRight(string(names), "\x00"), "\x00") {
		if !portableXattr(name) {
			continue
		}
		value, err := growing(func(buffer []byte) (int, error) { return unix.Lgetxattr(dir, name, buffer) })
		if errors.Is(err, unix.ENODATA) {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("reading the extended attribute %s of %s: %w", name, dir, err)
		}
		attributes[name] = value
	}
	return attributes, nil
}

// growing calls the function with larger buffers until the answer fits. Linux bounds names and values to 64 KiB each
// (XATTR_LIST_MAX, XATTR_SIZE_MAX).
func growing(call func(buffer []byte) (int, error)) ([]byte, error) {
	for size := 1 << 10; ; size *= 4 {
		buffer := make([]byte, size)
		n, err := call(buffer)
		if err == nil {
			return buffer[:n], nil
		}
		if !errors.Is(err, unix.ERANGE) || size > 1<<20 {
			return nil, err
		}
	}
}
