// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

func TestRun(t *testing.T) {
	failed := strings.Repeat("é", contract.MarkerReasonMax)
	cases := map[string]struct {
		files     map[string]string
		arguments []string
		signal    syscall.Signal
		wantCode  int
		want      string // in the termination message
	}{
		"a restored pod starts": {
			files:     map[string]string{"data/" + contract.DoneMarker(restoreUID): ""},
			arguments: []string{restoreUID},
		},
		"a volume that failed stops the pod": {
			files:     map[string]string{"data/" + contract.FailedMarker(restoreUID): "no \x1b[31msnapshot\nat all\xff"},
			arguments: []string{restoreUID},
			wantCode:  1,
			want:      "volume data was not restored: no  [31msnapshot at all\uFFFD",
		},
		"a long reason is cut": {
			files:     map[string]string{"data/" + contract.FailedMarker(restoreUID): failed},
			arguments: []string{restoreUID},
			wantCode:  1,
			want:      "volume data was not restored: éé",
		},
		"the deadline stops the pod": {
			files:     map[string]string{"data/file": ""},
			arguments: []string{"--timeout", "1ms", restoreUID},
			wantCode:  1,
			want:      "gave up after 1ms, still waiting for data (not done yet); to see why: kubectl ",
		},
		"no volume is misuse, not success": {
			arguments: []string{restoreUID},
			wantCode:  2,
			want:      "no volume is mounted",
		},
		"a missing restore UID": {wantCode: 2, want: "give the restore's UID"},
		"a restore UID that is a path": {
			arguments: []string{"../../etc/passwd"},
			wantCode:  2,
			want:      "cannot be the name of a file",
		},
		"an empty restore UID": {arguments: []string{""}, wantCode: 2, want: "cannot be the name of a file"},
		"a restore UID in a folder": {
			arguments: []string{"a/b"},
			wantCode:  2,
			want:      "cannot be the name of a file",
		},
		"a hidden restore UID": {
			arguments: []string{".hidden"},
			wantCode:  2,
			want:      "cannot be the name of a file",
		},
		"a deadline in the past": {
			arguments: []string{"--timeout", "-1s", restoreUID},
			wantCode:  2,
			want:      "--timeout -1s",
		},
		"a deadline of zero": {
			arguments: []string{"--timeout", "0s", restoreUID},
			wantCode:  2,
			want:      "--timeout 0s",
		},
		"a question for help": {arguments: []string{"--help"}},
		// cspell:ignore tiemout
		"a flag that does not exist": {arguments: []string{"--tiemout", "1h", restoreUID}, wantCode: 2, want: "tiemout"},
		"being told to end": {
			files:     map[string]string{"data/file": ""},
			arguments: []string{restoreUID},
			signal:    syscall.SIGTERM,
			wantCode:  143,
		},
	}
	for sentence, tc := range cases {
		t.Run(sentence, func(t *testing.T) {
			root, log := t.TempDir(), filepath.Join(t.TempDir(), "termination-log")
			put(t, log, "")
			for name, content := range tc.files {
				put(t, filepath.Join(root, name), content)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if tc.signal != 0 {
				cancel(signalError(tc.signal))
			}
			arguments := append([]string{"--root", root, "--termination-log", log}, tc.arguments...)
			var stdout, stderr bytes.Buffer
			if code := run(ctx, arguments, &stdout, &stderr); code != tc.wantCode {
				t.Errorf("exit code %d, want %d\n%s%s", code, tc.wantCode, stdout.String(), stderr.String())
			}
			checkMessage(t, log, tc.want, stderr.String())
		})
	}
}

func checkMessage(t *testing.T, log, want, stderr string) {
	t.Helper()
	message, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(message), want) || (want == "") != (len(message) == 0) {
		t.Errorf("termination message %q, want %q", message, want)
	}
	if len(message) > contract.MarkerReasonMax || !utf8.Valid(message) {
		t.Errorf("termination message of %d bytes, valid %v", len(message), utf8.Valid(message))
	}
	if !strings.Contains(stderr, string(message)) {
		t.Errorf("the log has %q, not the termination message", stderr)
	}
}
