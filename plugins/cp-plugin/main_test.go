// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// listing maps the names in dir to their mode and content.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		found[entry.Name()] = info.Mode().String() + " " + string(content)
	}
	return found
}

func TestCopyAll(t *testing.T) {
	cases := map[string]struct {
		before map[string]string
		want   map[string]string
	}{
		"into an empty volume": {
			want: map[string]string{"plugin": "-rwxr-xr-x new"},
		},
		"over an older plugin and what an interrupted run left": {
			before: map[string]string{"plugin": "older and longer", ".plugin.partial": "half", "other": "theirs"},
			want:   map[string]string{"plugin": "-rwxr-xr-x new", "other": "-rw-r--r-- theirs"},
		},
	}
	for sentence, tc := range cases {
		t.Run(sentence, func(t *testing.T) {
			source, target := t.TempDir(), t.TempDir()
			write(t, filepath.Join(source, "plugin"), "new", 0o400)
			if err := os.Mkdir(filepath.Join(source, "folder"), 0o755); err != nil {
				t.Fatal(err)
			}
			for name, content := range tc.before {
				write(t, filepath.Join(target, name), content, 0o644)
			}
			for range 2 {
				copied, err := copyAll(source, target)
				if err != nil || !cmp.Equal(copied, []string{"plugin"}) {
					t.Fatalf("copied %v, %v", copied, err)
				}
				if diff := cmp.Diff(tc.want, listing(t, target)); diff != "" {
					t.Fatalf("target (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestCopyAllLeavesAnOpenPluginAsItIs(t *testing.T) {
	source, target := t.TempDir(), t.TempDir()
	write(t, filepath.Join(source, "plugin"), "new", 0o755)
	write(t, filepath.Join(target, "plugin"), "old", 0o755)
	running, err := os.Open(filepath.Join(target, "plugin"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = running.Close() }() // read only: nothing can be lost

	if _, err := copyAll(source, target); err != nil {
		t.Fatal(err)
	}
	if content, err := io.ReadAll(running); err != nil || string(content) != "old" {
		t.Errorf("the open plugin became %q, %v", content, err)
	}
}

func TestCopyAllFails(t *testing.T) {
	empty, full := t.TempDir(), t.TempDir()
	write(t, filepath.Join(full, "plugin"), "new", 0o755)
	cases := map[string]struct {
		source, target, want string
	}{
		"when the image holds no plugin": {empty, t.TempDir(), "holds no file"},
		"when there is no source":        {filepath.Join(empty, "none"), t.TempDir(), "reading the plugins"},
		"when there is no target":        {full, filepath.Join(empty, "none"), "installing plugin"},
	}
	for sentence, tc := range cases {
		t.Run(sentence, func(t *testing.T) {
			copied, err := copyAll(tc.source, tc.target)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("copied %v, %v; want a message with %q", copied, err, tc.want)
			}
		})
	}
}
