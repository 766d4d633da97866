// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package session_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
)

// TestFolders has the ways in which a folder for repositories can be mounted, and not be.
func TestFolders(t *testing.T) {
	const root = "1 0 0:1 / / rw - overlay overlay rw\n"
	cases := map[string]struct {
		// mounts are lines of the table; %s is the place of the storage.
		mounts string
		// below is the folder of the repositories in the storage; "." is the storage itself, "" a folder that is not
		// there.
		below string
		// has is a file in that folder.
		has string
		// opens and makes are parts of the messages; empty for none.
		opens, makes string
	}{
		"a share":                      {mounts: "9 1 0:5 / %s rw - nfs4 server:/export rw\n", below: "."},
		"a folder of a share":          {mounts: "9 1 0:5 /sub %s rw - nfs4 server:/export rw\n", below: "."},
		"a disk":                       {mounts: "9 1 8:1 / %s rw shared:1 master:2 - ext4 /dev/sdb1 rw\n", below: "."},
		"a folder made on a share":     {mounts: "9 1 0:5 / %s rw - nfs4 server:/export rw\n", below: "restic"},
		"a folder made on a node":      {mounts: "9 1 8:1 /srv %s rw - ext4 /dev/sda1 rw\n", below: "restic"},
		"a node's folder with content": {mounts: "9 1 8:1 /srv %s rw - ext4 /dev/sda1 rw\n", below: ".", has: "shop"},
		"an empty folder of the node, where a share should be": {
			mounts: "9 1 8:1 /mnt/nfs %s rw - ext4 /dev/sda1 rw\n", below: ".", makes: "make a folder on the storage",
		},
		"a share that has not what was made on it": {
			mounts: "9 1 8:1 /mnt/nfs %s rw - ext4 /dev/sda1 rw\n", opens: "is not there",
		},
		"nothing mounted": {below: "restic", opens: "container's own disk"},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			storage, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			storage = filepath.Join(storage, "with space")
			folder := filepath.Join(storage, test.below)
			if err := os.MkdirAll(folder, 0o700); err != nil {
				t.Fatal(err)
			}
			if test.below == "" {
				folder = filepath.Join(storage, "restic")
			}
			if test.has != "" {
				if err := os.Mkdir(filepath.Join(folder, test.has), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			table := root
			if test.mounts != "" {
				table += fmt.Sprintf(test.mounts, strings.ReplaceAll(storage, " ", `\040`))
			}
			c.opener.MountInfo = filepath.Join(t.TempDir(), "mountinfo")
			if err := os.WriteFile(c.opener.MountInfo, []byte(table), 0o600); err != nil {
				t.Fatal(err)
			}
			c.location.Spec.Config["resticRepoPrefix"] = folder
			opened, err := c.open(t)
			wantRefusal(t, err, test.opens)
			if err != nil {
				return
			}
			wantRefusal(t, opened.CheckEmptyFolder(), test.makes)
			if err := opened.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// wantRefusal checks that there is an error if and only if it has something to say.
func wantRefusal(t *testing.T, err error, says string) {
	t.Helper()
	var notUsable *session.NotUsableError
	switch {
	case says == "" && err != nil:
		t.Errorf("got %v", err)
	case says != "" && (!errors.As(err, &notUsable) || !strings.Contains(err.Error(), says)):
		t.Errorf("got %v, want a NotUsableError with %q", err, says)
	}
}
