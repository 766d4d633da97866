// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package hostpath

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

func TestPrepareMarkers(t *testing.T) {
	for name, test := range map[string]struct {
		mode, during os.FileMode
	}{
		"a root that is open to all stays as it is":              {mode: 0o755, during: 0o755},
		"a root of its owner's is opened and closed again":       {mode: 0o700, during: 0o755},
		"the group of a fresh volume's root may be the helper's": {mode: 0o705, during: 0o755},
		"special bits stay": {mode: os.ModeSetgid | os.ModeSticky | 0o770, during: os.ModeSetgid | os.ModeSticky | 0o775},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "volume")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, test.mode); err != nil {
				t.Fatal(err)
			}
			restore, err := PrepareMarkers(dir)
			if err != nil {
				t.Fatal(err)
			}
			wantMode(t, dir, test.during)
			wantMode(t, filepath.Join(dir, contract.MarkerDir), 0o755)
			if (restore == nil) != (test.mode == test.during) {
				t.Fatalf("restore is nil: %t, for mode %v", restore == nil, test.mode)
			}
			if restore == nil {
				return
			}
			if err := restore(); err != nil {
				t.Fatal(err)
			}
			wantMode(t, dir, test.mode)
		})
	}
}

func TestMarked(t *testing.T) {
	for name, write := range map[string]func(dir string) error{
		"done":   func(dir string) error { return WriteDone(dir, "uid") },
		"failed": func(dir string) error { return WriteFailed(dir, "uid", "why") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if marked, err := Marked(dir, "uid"); err != nil || !marked.IsZero() {
				t.Fatalf("before: marked %s, error %v", marked, err)
			}
			if err := write(dir); err != nil {
				t.Fatal(err)
			}
			if marked, err := Marked(dir, "uid"); err != nil || time.Since(marked).Abs() > time.Minute {
				t.Errorf("after: marked %s, error %v", marked, err)
			}
			if marked, err := Marked(dir, "other"); err != nil || !marked.IsZero() {
				t.Errorf("another restore: marked %s, error %v", marked, err)
			}
		})
	}
}

func wantMode(t *testing.T, path string, want os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode() &^ os.ModeDir; got != want {
		t.Errorf("mode of %s is %v, want %v", path, got, want)
	}
}
