// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package hostpath

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestMountWarning(t *testing.T) {
	const dir = "/host_pods/uid/volumes/kubernetes.io~csi/pvc-1/mount"
	const others = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n" +
		"90 22 8:1 /var/lib/kubelet/pods /host_pods rw,relatime master:1 - ext4 /dev/sda1 rw\n"
	smb := func(point, options string) string {
		return others + "120 90 0:55 / " + point + " rw,relatime master:7 - cifs //account.file.core.windows.net/share " +
			options + "\n"
	}
	const options = "rw,vers=3.1.1,cache=strict,username=account,uid=0,gid=0,mfsymlinks,actimeo=30"
	volume := csiClaim()
	volume.PV.Name, volume.PV.Spec.StorageClassName = "pvc-1", "shares"
	static := csiClaim()
	static.PV.Name = "pv-by-hand"
	for name, c := range map[string]struct {
		table  string
		volume Volume
		want   []string
	}{
		"a share as the driver mounts it": {
			smb(dir, options), volume,
			[]string{"nouser_xattr", "StorageClass shares", "PersistentVolume pvc-1"},
		},
		"a share that a person made": {smb(dir, options), static, []string{"mountOptions of PersistentVolume pv-by-hand"}},
		"an inline share":            {smb(dir, options), emptyDir(""), []string{"mountOptions of the volume"}},
		"a share with the option":    {smb(dir, options+",nouser_xattr"), volume, nil},
		"a share of a later kind": {
			strings.ReplaceAll(smb(dir, options), " cifs ", " smb3 "), volume, []string{"smb3", "nouser_xattr"},
		},
		"a share mounted elsewhere":       {smb("/host_pods/other", options), volume, nil},
		"a share with a like name":        {smb(dir+"-2", options), volume, nil},
		"a share that another one covers": {smb(dir, options) + "121 120 8:2 / " + dir + " rw - ext4 /dev/sdb rw\n", volume, nil},
		"a share above it":                {smb("/host_pods/uid", options), volume, []string{"nouser_xattr"}},
		"a disk":                          {others, volume, nil},
		"a table that is none":            {"nonsense\n - \n", volume, nil},
		"a share whose optional part lacks": {
			"1 2 0:1 / " + dir + " rw - cifs //a/b rw\n", volume, []string{"nouser_xattr"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			finder := Finder{Mounts: func() ([]byte, error) { return []byte(c.table), nil }}
			got := finder.MountWarning(dir, c.volume)
			if (got == "") != (c.want == nil) {
				t.Fatalf("got %q", got)
			}
			for _, part := range c.want {
				if !strings.Contains(got, part) {
					t.Errorf("%q does not say %q", got, part)
				}
			}
		})
	}
}

func TestMountWarningWithoutATable(t *testing.T) {
	finder := Finder{Mounts: func() ([]byte, error) { return nil, errors.New("no /proc") }}
	if got := finder.MountWarning("/x", Volume{}); got != "" {
		t.Errorf("got %q", got)
	}
	// This process's own table is read without a complaint.
	if got := (Finder{}).MountWarning(t.TempDir(), Volume{PV: &corev1.PersistentVolume{}}); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestMountOfAPathWithBlanks(t *testing.T) {
	table := "1 0 8:1 / / rw - ext4 /dev/sda rw\n" + `2 1 0:2 / /mnt/a\040b\134c rw - nfs4 host:/ rw` + "\n"
	if got := mountOf(table, `/mnt/a b\c/d`).kind; got != "nfs4" {
		t.Errorf("got %q", got)
	}
	if got := mountOf(table, "/mnt").kind; got != "ext4" {
		t.Errorf("got %q", got)
	}
}
