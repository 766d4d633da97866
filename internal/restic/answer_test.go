// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/restictest"
)

// These are the answers that the real restic cannot be brought to give at will.

func scripted(subcommand string, replies ...restictest.Reply) (*restictest.Runner, *restic.Client) {
	runner := &restictest.Runner{}
	runner.On(subcommand, replies...)
	return runner, restic.NewClient(runner, restic.Repository{})
}

func TestForgetMakesSure(t *testing.T) {
	list := restictest.Reply{Lines: []string{`[{"id":"` + absentID + `"}]`}}
	_, client := scripted("snapshots", list)
	err := client.Forget(t.Context(), []string{absentID})
	if !errors.Is(err, restic.ErrForgetIncomplete) || !strings.Contains(err.Error(), absentID) {
		t.Errorf("got %v", err)
	}
}

func TestForgetDoesNotAskWithoutIDs(t *testing.T) {
	runner, client := scripted("snapshots", restictest.Reply{Lines: []string{`[]`}})
	if err := client.Forget(t.Context(), []string{absentID}); err != nil {
		t.Error(err)
	}
	for _, cmd := range runner.Commands() {
		if cmd.Args[0] == "forget" {
			t.Errorf("restic was called with %q", cmd.Args)
		}
	}
}

// TestAListThatIsNotThereIsNotEmpty has restic end well after it could not list: what is not seen is not gone.
func TestAListThatIsNotThereIsNotEmpty(t *testing.T) {
	runner, client := scripted("snapshots", restictest.Reply{
		Lines: []string{`[]`}, Text: []string{"could not load snapshots: no route to host"},
	})
	_, listErr := client.Snapshots(t.Context(), nil)
	_, _, viewErr := client.ViewSnapshots(t.Context())
	forgetErr := client.Forget(t.Context(), []string{absentID})
	for name, err := range map[string]error{"Snapshots": listErr, "ViewSnapshots": viewErr, "Forget": forgetErr} {
		if !errors.Is(err, restic.ErrBadAnswer) || !strings.Contains(err.Error(), "no route to host") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, cmd := range runner.Commands() {
		if cmd.Args[0] == "forget" {
			t.Errorf("restic was called with %q", cmd.Args)
		}
	}
	if args := runner.Commands()[1].Args; !slices.Contains(args, "--no-lock") {
		t.Errorf("looking takes a lock: %q", args)
	}
}

func TestNoAnswerIsNotSuccess(t *testing.T) {
	client := restic.NewClient(&restictest.Runner{}, restic.Repository{})
	_, versionErr := client.Version(t.Context())
	_, configErr := client.CatConfig(t.Context())
	_, backupErr := client.Backup(t.Context(), restic.BackupOptions{}, nil)
	_, restoreErr := client.Restore(t.Context(), restic.RestoreOptions{SnapshotID: absentID, Target: "/t"}, nil)
	_, snapshotsErr := client.Snapshots(t.Context(), nil)
	for name, err := range map[string]error{
		"Version": versionErr, "CatConfig": configErr, "Backup": backupErr,
		"Restore": restoreErr, "Snapshots": snapshotsErr,
	} {
		if !errors.Is(err, restic.ErrBadAnswer) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestLockThatGoesWhileItIsRead(t *testing.T) {
	runner, client := scripted("list", restictest.Reply{Lines: []string{absentID}}, restictest.Reply{})
	gone := &restic.ExitError{Subcommand: "cat", Code: 1, Message: "no such file or directory"}
	runner.On("cat", restictest.Reply{Err: gone})
	if locks, err := client.Locks(t.Context()); err != nil || len(locks) != 0 {
		t.Errorf("got %+v, %v", locks, err)
	}
	runner.On("list", restictest.Reply{Lines: []string{absentID}})
	if locks, err := client.Locks(t.Context()); !errors.Is(err, gone) {
		t.Errorf("a lock that stays: got %+v, %v", locks, err)
	}
}

func TestWarningsAreCountedAndBounded(t *testing.T) {
	var problems []restic.Problem
	for i := range 100 {
		item := fmt.Sprintf("/f%d", i)
		problems = append(problems, restic.Problem{Item: item, During: "scan", Message: "counted once"},
			restic.Problem{Item: item, During: "archival", Message: strings.Repeat("x", 2000)})
	}
	_, client := scripted("backup", restictest.Reply{
		Problems: problems,
		Lines:    []string{`{"message_type":"summary","snapshot_id":"` + absentID + `"}`},
	})
	result, err := client.Backup(t.Context(), restic.BackupOptions{}, nil)
	if err != nil || result.Warnings.Count != 100 || len(result.Warnings.First) != restic.MaxWarnings {
		t.Fatalf("got %+v, %v", result, err)
	}
	if first := result.Warnings.First[0]; !strings.HasPrefix(first, "/f0: xxx") || len(first) > 600 {
		t.Errorf("got %q", first)
	}
}

func TestRestoreTellsMetadataFromContent(t *testing.T) {
	const summary = `{"message_type":"summary","total_files":2,"files_restored":2}`
	about := func(messages ...string) []restic.Problem {
		var problems []restic.Problem
		for _, message := range messages {
			problems = append(problems, restic.Problem{Item: "/a", During: "restore", Message: message})
		}
		return problems
	}
	failed := func(message string) error { return &restic.ExitError{Subcommand: "restore", Code: 1, Message: message} }
	cases := map[string]struct {
		reply restictest.Reply
		want  bool
	}{
		"owners, permissions, times and attributes": {restictest.Reply{
			Problems: about("lchown /t/a: operation not permitted", "chmod /t/a: operation not permitted",
				`failed to restore timestamp of "/t/a": read-only`, "xattr.set /t/a user.x: no space left on device"),
			Lines: []string{summary}, Err: failed("There were 4 errors"),
		}, true},
		"content as well": {restictest.Reply{
			Problems: about("lchown /t/a: operation not permitted", "write /t/b: no space left on device"),
			Lines:    []string{summary}, Err: failed("There were 2 errors"),
		}, false},
		"an error that was not seen": {restictest.Reply{
			Problems: about("lchown /t/a: operation not permitted"),
			Lines:    []string{summary}, Err: failed("There were 2 errors"),
		}, false},
		"an end before the end": {restictest.Reply{
			Problems: about("lchown /t/a: operation not permitted"), Err: failed("There were 1 errors"),
		}, false},
		"another failure besides": {restictest.Reply{
			Problems: about("lchown /t/a: operation not permitted"),
			Lines:    []string{summary}, Err: failed("unable to load the index"),
		}, false},
		"killed at the end": {restictest.Reply{
			Problems: about("lchown /t/a: operation not permitted"),
			Lines:    []string{summary}, Err: &restic.ExitError{Subcommand: "restore", Code: 137},
		}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, client := scripted("restore", c.reply)
			result, err := client.Restore(t.Context(), restic.RestoreOptions{SnapshotID: absentID, Target: "/t"}, nil)
			if err == nil || errors.Is(err, restic.ErrRestoreMetadata) != c.want {
				t.Errorf("got %v", err)
			}
			if result.Warnings.Count != int64(len(c.reply.Problems)) {
				t.Errorf("got %+v", result.Warnings)
			}
		})
	}
}

func TestSecretsStayOutOfArguments(t *testing.T) {
	runner := &restictest.Runner{}
	client := restic.NewClient(runner, restic.Repository{
		URL: "rest:https://u:s3cr3t@h/", PasswordFile: "/p",
		Env: []string{"AWS_SECRET_ACCESS_KEY=s3cr3t"},
	})
	_ = client.Init(t.Context())
	_ = client.Unlock(t.Context())
	_, _ = client.CatConfig(t.Context())
	_, _ = client.Locks(t.Context())
	_, _ = client.Snapshots(t.Context(), nil)
	_, _ = client.Backup(t.Context(), restic.BackupOptions{}, nil)
	_, _ = client.Restore(t.Context(), restic.RestoreOptions{SnapshotID: absentID, Target: "/t"}, nil)
	var subcommands []string
	for _, cmd := range runner.Commands() {
		subcommands = append(subcommands, cmd.Args[0])
		if strings.Contains(strings.Join(cmd.Args, " "), "s3cr3t") {
			t.Errorf("got %q", cmd.Args)
		}
	}
	want := []string{"init", "unlock", "cat", "list", "snapshots", "backup", "restore"}
	if diff := cmp.Diff(want, subcommands); diff != "" {
		t.Error(diff)
	}
}
