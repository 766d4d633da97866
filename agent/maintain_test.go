// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

func TestMaintainRequest(t *testing.T) {
	cases := map[string]struct {
		options maintainTask
		want    transfer.MaintainRequest
		says    string
	}{
		"a check of a part": {
			options: maintainTask{repository: "r", operation: "check", part: "3/20"},
			want: transfer.MaintainRequest{
				Operation: resticv1.OperationCheck, Check: restic.CheckOptions{Part: 3, Parts: 20},
			},
		},
		"a prune with bounds": {
			options: maintainTask{repository: "r", operation: "prune", maxUnused: "5%", maxRepackSize: "1G"},
			want: transfer.MaintainRequest{
				Operation: resticv1.OperationPrune, Prune: restic.PruneOptions{MaxUnused: "5%", MaxRepackSize: "1G"},
			},
		},
		"an unlock": {
			options: maintainTask{repository: "r", operation: "unlock", host: "restic-dead1"},
			want:    transfer.MaintainRequest{Operation: resticv1.OperationUnlock, Host: "restic-dead1"},
		},
		"a list of snapshots": {
			options: maintainTask{repository: "r", operation: "snapshots"},
			want:    transfer.MaintainRequest{Operation: resticv1.OperationSnapshots},
		},
		"no repository":          {options: maintainTask{operation: "check"}, says: "--repository"},
		"no such operation":      {options: maintainTask{repository: "r", operation: "forget"}, says: "--operation"},
		"a part of another form": {options: maintainTask{repository: "r", operation: "check", part: "5%"}, says: "--part"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := c.options.request()
			if c.says != "" {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestMaintainWritesOutcome runs the subcommand with what it cannot do: the Job's message says so.
func TestMaintainWritesOutcome(t *testing.T) {
	file := filepath.Join(t.TempDir(), "termination-log")
	command := maintainCommand(valid(t))
	command.SetArgs([]string{"--repository=r", "--operation=defragment", "--outcome=" + file})
	command.SilenceErrors, command.SilenceUsage = true, true
	if err := command.ExecuteContext(t.Context()); !errors.Is(err, errNotDone) {
		t.Errorf("it ended with %v", err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var outcome transfer.MaintainOutcome
	if err := json.Unmarshal(content, &outcome); err != nil || outcome.Result != resticv1.MaintenanceFailed ||
		!strings.Contains(outcome.Message, "defragment") {
		t.Errorf("it told %s, %v", content, err)
	}
}
