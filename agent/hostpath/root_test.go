// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package hostpath

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// accessList is user::rwx, user:1000:r-x, group::r-x, mask::r-x, other::---, as Linux stores it
// (include/uapi/linux/posix_acl_xattr.h): version 2, then tag, permissions and ID each, little endian.
var accessList = []byte{
	2, 0, 0, 0,
	0x01, 0, 7, 0, 0xff, 0xff, 0xff, 0xff,
	0x02, 0, 5, 0, 0xe8, 0x03, 0, 0,
	0x04, 0, 5, 0, 0xff, 0xff, 0xff, 0xff,
	0x10, 0, 5, 0, 0xff, 0xff, 0xff, 0xff,
	0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
}

// volumeDir returns a directory on storage that has extended attributes, and which of them.
func volumeDir(t *testing.T) (string, map[string][]byte) {
	t.Helper()
	dir, kept := t.TempDir(), map[string][]byte{}
	for name, value := range map[string][]byte{"user.note": {0, 1, ','}, "system.posix_acl_access": accessList} {
		switch err := unix.Setxattr(dir, name, value, 0); {
		case err == nil:
			kept[name] = value
		case errors.Is(err, unix.EOPNOTSUPP):
			t.Logf("the storage of the test has no %s", name)
		default:
			t.Fatal(err)
		}
	}
	return dir, kept
}

func TestRootAttributesSurvive(t *testing.T) {
	from, xattrs := volumeDir(t)
	mtime := time.Date(2021, 2, 3, 4, 5, 6, 789, time.UTC)
	owner := os.Geteuid()
	if owner == 0 {
		owner = 12345
	}
	for _, err := range []error{
		os.Chown(from, owner, os.Getegid()),
		unix.Chmod(from, 0o2750),
		os.Chtimes(from, time.Time{}, mtime),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	tags, err := ReadRootAttributes(from)
	if err != nil {
		t.Fatal(err)
	}
	if tags[contract.TagRootMode] != "2750" || tags[contract.TagRootTime] != "2021-02-03T04:05:06.000000789Z" ||
		(tags[contract.TagRootXattrs] == "") != (len(xattrs) == 0) {
		t.Errorf("got %v", tags)
	}
	to := t.TempDir()
	withOthers := maps.Clone(tags)
	withOthers[contract.TagNamespace] = "shop"
	if err := ApplyRootAttributes(to, withOthers); err != nil {
		t.Fatal(err)
	}
	again, err := ReadRootAttributes(to)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tags, again); diff != "" {
		t.Error(diff)
	}
	if got, err := readXattrs(to); err != nil || !cmp.Equal(got, xattrs) && len(xattrs) > 0 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestApplyRootAttributesWithoutTags(t *testing.T) {
	dir := t.TempDir()
	before, err := ReadRootAttributes(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := ApplyRootAttributes(dir, map[string]string{"ns": "shop"}); err != nil {
		t.Error(err)
	}
	if after, err := ReadRootAttributes(dir); err != nil || !cmp.Equal(before, after) {
		t.Errorf("got %v, %v", after, err)
	}
}

func TestApplyRootAttributesRefusesBadTags(t *testing.T) {
	xattr := func(name string) string {
		document, err := json.Marshal(map[string][]byte{name: {1}})
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(document)
	}
	for name, bad := range map[string]struct{ key, value string }{
		"permissions that are none":      {contract.TagRootMode, "rwx"},
		"too many permissions":           {contract.TagRootMode, "100755"},
		"an owner by name":               {contract.TagRootUID, "root"},
		"a negative owner":               {contract.TagRootUID, "-1"},
		"the group that means no change": {contract.TagRootGID, "4294967295"},
		"a time that is none":            {contract.TagRootTime, "yesterday"},
		"attributes that are none":       {contract.TagRootXattrs, "%"},
		"attributes of another form":     {contract.TagRootXattrs, base64.StdEncoding.EncodeToString([]byte("[1]"))},
		"a label of a security module":   {contract.TagRootXattrs, xattr("security.selinux")},
		"a capability":                   {contract.TagRootXattrs, xattr("security.capability")},
		"a redirection of overlayfs":     {contract.TagRootXattrs, xattr("trusted.overlay.redirect")},
		"a tag from a later version":     {"root-flags", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			before, err := ReadRootAttributes(dir)
			if err != nil {
				t.Fatal(err)
			}
			tags := map[string]string{contract.TagRootMode: "0700", bad.key: bad.value}
			if err := ApplyRootAttributes(dir, tags); !errors.Is(err, ErrBadAttributes) {
				t.Errorf("got %v", err)
			}
			if after, err := ReadRootAttributes(dir); err != nil || !cmp.Equal(before, after) {
				t.Errorf("something was set: %v, %v", after, err)
			}
		})
	}
}

func TestRootAttributesOfALink(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Fatal(err)
	}
	if tags, err := ReadRootAttributes(link); err == nil {
		t.Errorf("got %v", tags)
	}
	if err := ApplyRootAttributes(link, map[string]string{contract.TagRootMode: "0700"}); err == nil {
		t.Error("a link was followed")
	}
}

func TestApplyRootAttributesReportsEachRefusal(t *testing.T) {
	dir := t.TempDir()
	tags := map[string]string{contract.TagRootMode: "0711", contract.TagRootXattrs: base64.StdEncoding.EncodeToString(
		[]byte(`{"nonsense.a":"AQ==","nonsense.b":"AQ=="}`))}
	err := ApplyRootAttributes(dir, tags)
	if err == nil || errors.Is(err, ErrBadAttributes) {
		t.Fatalf("got %v", err)
	}
	if !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("got %v", err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o711 {
		t.Errorf("the rest was not set: %v, %v", info.Mode(), err)
	}
}
