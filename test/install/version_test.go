// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package install

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		want  string
		fails string
	}{
		"the tag of the plugin's image": {
			files: map[string]string{"manifest.json": `[{"RepoTags":["velero/velero-plugin-for-restic:v1.2.3"]}]`},
			want:  "v1.2.3",
		},
		"an archive of another image": {
			files: map[string]string{"manifest.json": `[{"RepoTags":["velero/velero:v1.2.3"]}]`},
			fails: "does not name velero/velero-plugin-for-restic",
		},
		"an invalid manifest":           {files: map[string]string{"manifest.json": "hello"}, fails: "manifest.json"},
		"an archive without a manifest": {files: map[string]string{"other.json": "[]"}, fails: "has no manifest.json"},
		"no archive":                    {fails: "make images"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			if test.files != nil {
				writeArchive(t, filepath.Join(folder, pluginArchive), test.files)
			}
			got, err := Version(folder)
			if test.fails == "" {
				if err != nil || got != test.want {
					t.Errorf("got %q, error %v, want %q", got, err, test.want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.fails) {
				t.Errorf("got %q, error %v, want an error with %q", got, err, test.fails)
			}
		})
	}
}

func writeArchive(t *testing.T, path string, files map[string]string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	writer := tar.NewWriter(file)
	for name, content := range files {
		header := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}
		if err := writer.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := writer.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestQuoted(t *testing.T) {
	got := quoted([]string{"patch", "-p", `[{"op":"add"}]`})
	if want := `patch -p '[{"op":"add"}]'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
