// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package hostpath

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

const restoreUID = "8d5f0f9e-1111-4222-8333-444444444444"

// tree returns the type, permissions and content of all below a directory.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries := map[string]string{}
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || path == dir {
			return err
		}
		text := info.Mode().String()
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += " " + string(content)
		}
		name, err := filepath.Rel(dir, path)
		entries[name] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func TestMarkers(t *testing.T) {
	unix.Umask(0o077) // the least that an administrator may have set
	defer unix.Umask(0o022)
	volume := t.TempDir()
	if err := os.WriteFile(filepath.Join(volume, "data"), []byte("d"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := time.Date(2020, 1, 2, 3, 4, 5, 6, time.UTC)
	if err := os.Chtimes(volume, before, before); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		does string
		do   func() error
		want map[string]string
	}{
		{"nothing to remove", func() error { return RemoveMarkers(volume, restoreUID) }, nil},
		{
			"failed", func() error { return WriteFailed(volume, restoreUID, "no such snapshot") },
			map[string]string{".velero": "drwxr-xr-x", ".velero/" + restoreUID + ".failed": "-rw-r--r-- no such snapshot"},
		},
		{
			"failed again", func() error { return WriteFailed(volume, restoreUID, "locked") },
			map[string]string{".velero": "drwxr-xr-x", ".velero/" + restoreUID + ".failed": "-rw-r--r-- locked"},
		},
		{
			"done", func() error { return WriteDone(volume, restoreUID) },
			map[string]string{
				".velero": "drwxr-xr-x", ".velero/" + restoreUID + ".failed": "-rw-r--r-- locked",
				".velero/" + restoreUID: "-rw-r--r-- ",
			},
		},
		{"removed", func() error { return RemoveMarkers(volume, restoreUID) }, nil},
		{
			"done by another restore", func() error { return WriteDone(volume, "other") },
			map[string]string{".velero": "drwxr-xr-x", ".velero/other": "-rw-r--r-- "},
		},
		{
			"only ours are removed", func() error { return RemoveMarkers(volume, restoreUID) },
			map[string]string{".velero": "drwxr-xr-x", ".velero/other": "-rw-r--r-- "},
		},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.does, err)
		}
		want := map[string]string{"data": "-rw------- d"}
		for name, text := range step.want {
			want[name] = text
		}
		if diff := cmp.Diff(want, tree(t, volume)); diff != "" {
			t.Errorf("%s: %s", step.does, diff)
		}
		if info, err := os.Stat(volume); err != nil || !info.ModTime().Equal(before) {
			t.Errorf("%s: the volume's time is %v, %v", step.does, info.ModTime(), err)
		}
	}
}

func TestFailedMarkerIsBounded(t *testing.T) {
	volume := t.TempDir()
	if err := WriteFailed(volume, restoreUID, strings.Repeat("é", contract.MarkerReasonMax)); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(volume, contract.FailedMarker(restoreUID)))
	if err != nil || len(content) != contract.MarkerReasonMax || strings.Contains(string(content), "\ufffd") {
		t.Errorf("got %d bytes, %v", len(content), err)
	}
}

// TestMarkersInAHostileVolume plants things in the way. Nothing outside of the volume may change, nor the volume's
// own data, and no pipe may be opened.
func TestMarkersInAHostileVolume(t *testing.T) {
	done := contract.DoneMarker(restoreUID)
	cases := map[string]func(volume, victim string) error{
		"the folder is a link out of the volume": func(volume, victim string) error {
			return os.Symlink(victim, filepath.Join(volume, ".velero"))
		},
		"the folder is a link into the volume": func(volume, _ string) error {
			return os.Symlink("data", filepath.Join(volume, ".velero"))
		},
		"the folder is a link to nowhere": func(volume, _ string) error {
			return os.Symlink("nowhere", filepath.Join(volume, ".velero"))
		},
		"the folder is a file": func(volume, _ string) error {
			return os.WriteFile(filepath.Join(volume, ".velero"), []byte("x"), 0o600)
		},
		"the folder is a pipe": func(volume, _ string) error {
			return unix.Mkfifo(filepath.Join(volume, ".velero"), 0o600)
		},
		"the marker is a link out of the volume": func(volume, victim string) error {
			return errors.Join(os.Mkdir(filepath.Join(volume, ".velero"), 0o700),
				os.Symlink(filepath.Join(victim, "file"), filepath.Join(volume, done)),
				os.Symlink(filepath.Join(victim, "file"), filepath.Join(volume, done+".new")))
		},
		"the marker is a pipe": func(volume, _ string) error {
			return errors.Join(os.Mkdir(filepath.Join(volume, ".velero"), 0o700),
				unix.Mkfifo(filepath.Join(volume, done), 0o600), unix.Mkfifo(filepath.Join(volume, done+".new"), 0o600))
		},
		"the marker is a folder": func(volume, _ string) error {
			return os.MkdirAll(filepath.Join(volume, done, "sub"), 0o700)
		},
	}
	for name, plant := range cases {
		t.Run(name, func(t *testing.T) {
			volume, victim := t.TempDir(), t.TempDir()
			makeDirs(t, volume, "data")
			for _, file := range []string{filepath.Join(victim, "file"), filepath.Join(volume, "data", "file")} {
				if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := plant(volume, victim); err != nil {
				t.Fatal(err)
			}
			planted := tree(t, volume)
			if err := RemoveMarkers(volume, restoreUID); err != nil {
				t.Errorf("RemoveMarkers before: %v", err)
			}
			if name == "the marker is a folder" || strings.HasPrefix(name, "the folder") {
				if diff := cmp.Diff(planted, tree(t, volume)); diff != "" {
					t.Errorf("what is not ours was removed: %s", diff)
				}
			}
			for _, write := range []func() error{
				func() error { return WriteDone(volume, restoreUID) },
				func() error { return WriteFailed(volume, restoreUID, "why") },
			} {
				if err := write(); err != nil {
					t.Fatal(err)
				}
			}
			want := map[string]string{
				"data": "drwxr-xr-x", "data/file": "-rw------- precious", ".velero": "drwxr-xr-x",
				done: "-rw-r--r-- ", done + ".failed": "-rw-r--r-- why",
			}
			if diff := cmp.Diff(want, tree(t, volume)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(map[string]string{"file": "-rw------- precious"}, tree(t, victim)); diff != "" {
				t.Error(diff)
			}
			if err := RemoveMarkers(volume, restoreUID); err != nil {
				t.Error(err)
			}
			want = map[string]string{"data": "drwxr-xr-x", "data/file": "-rw------- precious"}
			if diff := cmp.Diff(want, tree(t, volume)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMarkersRefuseInvalidUID(t *testing.T) {
	volume := t.TempDir()
	for _, uid := range []string{"", ".", "..", "../../etc/passwd", "a/b"} {
		for name, err := range map[string]error{
			"WriteDone":     WriteDone(volume, uid),
			"WriteFailed":   WriteFailed(volume, uid, "x"),
			"RemoveMarkers": RemoveMarkers(volume, uid),
		} {
			if err == nil {
				t.Errorf("%s took the UID %q", name, uid)
			}
		}
	}
	if left := tree(t, volume); len(left) > 0 {
		t.Errorf("got %v", left)
	}
}

func TestMarkersWithoutAVolume(t *testing.T) {
	if err := WriteDone(filepath.Join(t.TempDir(), "x"), restoreUID); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
