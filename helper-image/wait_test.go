// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

const restoreUID = "0b5f4a3e-1111-2222-3333-444455556666"

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, path, content string) {
	t.Helper()
	mkdir(t, filepath.Dir(path))
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestExamine(t *testing.T) {
	done, failed := contract.DoneMarker(restoreUID), contract.FailedMarker(restoreUID)
	cases := map[string]struct {
		volume     func(t *testing.T, dir, outside string)
		wantReason string // empty: done
		wantErr    string
	}{
		"a done marker": {volume: func(t *testing.T, dir, _ string) { put(t, filepath.Join(dir, done), "") }},
		"an empty volume": {
			volume:     func(*testing.T, string, string) {},
			wantReason: "not done yet",
		},
		"the marker of another restore": {
			volume:     func(t *testing.T, dir, _ string) { put(t, filepath.Join(dir, contract.DoneMarker("other")), "") },
			wantReason: "not done yet",
		},
		"a failed marker": {
			volume:  func(t *testing.T, dir, _ string) { put(t, filepath.Join(dir, failed), "snapshot is gone\n") },
			wantErr: "snapshot is gone",
		},
		"a failed marker beside a done one": {
			volume: func(t *testing.T, dir, _ string) {
				put(t, filepath.Join(dir, done), "")
				put(t, filepath.Join(dir, failed), "half")
			},
			wantErr: "half",
		},
		"a failed marker without a reason": {
			volume:  func(t *testing.T, dir, _ string) { put(t, filepath.Join(dir, failed), " \n") },
			wantErr: "gave no reason",
		},
		"a marker folder that is a link out of the volume": {
			volume: func(t *testing.T, dir, outside string) {
				put(t, filepath.Join(outside, restoreUID), "")
				must(t, os.Symlink(outside, filepath.Join(dir, contract.MarkerDir)))
			},
			wantReason: "not a folder",
		},
		"a marker folder that is a link within the volume": {
			volume: func(t *testing.T, dir, _ string) {
				put(t, filepath.Join(dir, "elsewhere", restoreUID), "")
				must(t, os.Symlink("elsewhere", filepath.Join(dir, contract.MarkerDir)))
			},
			wantReason: "not a folder",
		},
		"a done marker that is a link to a file": {
			volume: func(t *testing.T, dir, outside string) {
				put(t, filepath.Join(outside, "file"), "")
				mkdir(t, filepath.Join(dir, contract.MarkerDir))
				must(t, os.Symlink(filepath.Join(outside, "file"), filepath.Join(dir, done)))
			},
			wantReason: "not a regular file",
		},
		"a done marker that is a folder": {
			volume:     func(t *testing.T, dir, _ string) { mkdir(t, filepath.Join(dir, done)) },
			wantReason: "not a regular file",
		},
		"a failed marker that is a link to a secret": {
			volume: func(t *testing.T, dir, outside string) {
				put(t, filepath.Join(outside, "token"), "secret")
				mkdir(t, filepath.Join(dir, contract.MarkerDir))
				must(t, os.Symlink(filepath.Join(outside, "token"), filepath.Join(dir, failed)))
			},
			wantReason: "not a regular file",
		},
		"a failed marker that is a FIFO": {
			volume: func(t *testing.T, dir, _ string) {
				mkdir(t, filepath.Join(dir, contract.MarkerDir))
				must(t, syscall.Mkfifo(filepath.Join(dir, failed), 0o644))
			},
			wantReason: "not a regular file",
		},
	}
	for sentence, tc := range cases {
		t.Run(sentence, func(t *testing.T) {
			dir, outside := t.TempDir(), t.TempDir()
			tc.volume(t, dir, outside)
			v := volume{dir: dir}
			defer v.close()
			done, err := v.examine(restoreUID)
			if got := errorText(err); (tc.wantErr == "") != (err == nil) || !strings.Contains(got, tc.wantErr) {
				t.Errorf("failed with %q, want %q", got, tc.wantErr)
			}
			if wantDone := tc.wantErr == "" && tc.wantReason == ""; done != wantDone {
				t.Errorf("done: %v, want %v", done, wantDone)
			}
			if (tc.wantReason == "") != (v.reason == "") || !strings.Contains(v.reason, tc.wantReason) {
				t.Errorf("not done because of %q, want %q", v.reason, tc.wantReason)
			}
		})
	}
}

func TestExamineKeepsSightOfAVolumeThatShutsItsUserOut(t *testing.T) {
	root := t.TempDir()
	must(t, os.Chmod(filepath.Dir(root), 0o755)) // for the user that root becomes below
	seen, unseen := volume{dir: filepath.Join(root, "seen")}, volume{dir: filepath.Join(root, "unseen")}
	defer seen.close()
	for _, dir := range []string{seen.dir, unseen.dir} {
		mkdir(t, filepath.Join(dir, contract.MarkerDir))
	}
	if done, err := seen.examine(restoreUID); done || err != nil {
		t.Fatalf("done: %v, %v", done, err)
	}
	for _, dir := range []string{seen.dir, unseen.dir} {
		put(t, filepath.Join(dir, contract.DoneMarker(restoreUID)), "")
		must(t, os.Chmod(dir, 0))
		defer func() { must(t, os.Chmod(dir, 0o700)) }()
	}
	if os.Geteuid() == 0 {
		must(t, syscall.Seteuid(65532))
		defer func() { must(t, syscall.Seteuid(0)) }()
	}

	if done, err := seen.examine(restoreUID); !done || err != nil {
		t.Errorf("done: %v, %v, because of %q", done, err, seen.reason)
	}
	if done, err := unseen.examine(restoreUID); done || err != nil || !strings.Contains(unseen.reason, "may not look") {
		t.Errorf("done: %v, %v, because of %q", done, err, unseen.reason)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestWaitReturnsWhenTheLastVolumeIsDone(t *testing.T) {
	root := t.TempDir()
	mkdir(t, filepath.Join(root, "data"))
	mkdir(t, filepath.Join(root, "logs"))
	put(t, filepath.Join(root, "a file"), "is no volume")
	poll, report := make(chan time.Time), make(chan time.Time)
	var output bytes.Buffer
	finished := make(chan error)
	go func() {
		finished <- wait(t.Context(), watch{root, restoreUID, &output, poll, report})
	}()

	poll <- time.Time{}
	put(t, filepath.Join(root, "data", contract.DoneMarker(restoreUID)), "")
	poll <- time.Time{}
	report <- time.Time{} // taken only after it has looked, and found one volume done
	put(t, filepath.Join(root, "logs", contract.DoneMarker(restoreUID)), "")
	// It looks after each report, too, and may have seen the marker by that.
	var err error
	select {
	case poll <- time.Time{}:
		err = <-finished
	case err = <-finished:
	}
	if err != nil {
		t.Fatal(err)
	}
	want := "waiting for 2 volumes of restore " + restoreUID + ": data, logs\n" +
		"volume data is restored, 1 to go\n" +
		"still waiting for logs (not done yet)\n" +
		"volume logs is restored, 0 to go\n"
	if output.String() != want {
		t.Errorf("printed\n%swant\n%s", output.String(), want)
	}
	if _, err := os.Stat(filepath.Join(root, "data", contract.DoneMarker(restoreUID))); err != nil {
		t.Errorf("the marker is the agent's to remove: %v", err)
	}
}

func TestWaitEnds(t *testing.T) {
	gaveUp := errors.New("gave up after 1h")
	cases := map[string]struct {
		files map[string]string
		cause error
		want  []string
	}{
		"with the volumes that are missing, when its context ends": {
			files: map[string]string{"data/file": "", "done/" + contract.DoneMarker(restoreUID): "", "logs/file": ""},
			cause: gaveUp,
			want:  []string{"gave up after 1h", "data (", "logs (", "velero.io/restore-uid=" + restoreUID},
		},
		"with the reason of a volume that failed, though others are missing": {
			files: map[string]string{"data/file": "", "logs/" + contract.FailedMarker(restoreUID): "no such snapshot"},
			want:  []string{"volume logs was not restored: no such snapshot"},
		},
		"when no volume is mounted": {
			files: map[string]string{"file": ""},
			want:  []string{"no volume is mounted"},
		},
	}
	for sentence, tc := range cases {
		t.Run(sentence, func(t *testing.T) {
			root := t.TempDir()
			for name, content := range tc.files {
				put(t, filepath.Join(root, name), content)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			if tc.cause != nil {
				cancel(tc.cause)
			}
			defer cancel(nil)
			err := wait(ctx, watch{root: root, restoreUID: restoreUID, output: &bytes.Buffer{}})
			for _, want := range tc.want {
				if !strings.Contains(errorText(err), want) {
					t.Errorf("got %q, want it to say %q", errorText(err), want)
				}
			}
			if strings.Contains(errorText(err), "done (") {
				t.Errorf("%q names a volume that is done", err)
			}
		})
	}
}
