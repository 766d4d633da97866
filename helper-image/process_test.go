// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// asHelper has the test binary run as the helper.
const asHelper = "TEST_RUN_AS_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(asHelper) != "" {
		main()
	}
	os.Exit(m.Run())
}

// TestProcess runs the helper as the kubelet does: as a process that is started first and hears of the rest later.
func TestProcess(t *testing.T) {
	for sentence, tc := range map[string]struct {
		act      func(t *testing.T, volume string, helper *os.Process)
		wantCode int
		want     string
	}{
		"it lets the pod start when the agent writes the marker": {
			act: func(t *testing.T, volume string, _ *os.Process) {
				put(t, filepath.Join(volume, contract.DoneMarker(restoreUID)), "")
			},
			want: "every volume is restored",
		},
		"it ends by SIGTERM": {
			act:      func(t *testing.T, _ string, helper *os.Process) { must(t, helper.Signal(syscall.SIGTERM)) },
			wantCode: 143,
		},
		"it ends by SIGINT": {
			act:      func(t *testing.T, _ string, helper *os.Process) { must(t, helper.Signal(syscall.SIGINT)) },
			wantCode: 130,
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			volume := filepath.Join(root, "data")
			mkdir(t, volume)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			helper := exec.CommandContext(ctx, os.Args[0], "--root", root, "--termination-log=", restoreUID)
			helper.Env = []string{asHelper + "=1"}
			stdout, err := helper.StdoutPipe()
			must(t, err)
			must(t, helper.Start())
			lines := bufio.NewScanner(stdout)
			if !lines.Scan() || !strings.HasPrefix(lines.Text(), "waiting for 1 volumes") {
				t.Errorf("the first line is %q", lines.Text())
			}
			tc.act(t, volume, helper.Process)
			last := ""
			for lines.Scan() {
				last = lines.Text()
			}
			_ = helper.Wait() // the exit code is below
			if code := helper.ProcessState.ExitCode(); code != tc.wantCode || !strings.Contains(last, tc.want) {
				t.Errorf("it ended with %v and %q, want exit code %d and %q", helper.ProcessState, last, tc.wantCode, tc.want)
			}
		})
	}
}
