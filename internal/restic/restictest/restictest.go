// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package restictest has a stand-in for restic, and the real one, for tests.
package restictest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// Reply is how a scripted command goes.
type Reply struct {
	// Lines are its standard output.
	Lines []string
	// Problems are handed to the command's OnProblem.
	Problems []restic.Problem
	// Text is handed to the command's OnText.
	Text []string
	// Wait makes the command last until the channel is closed or its context ends; nil for not at all.
	Wait <-chan struct{}
	// Err is how it ends.
	Err error
}

// Runner plays scripted replies. Its zero value answers every command with success and no output.
type Runner struct {
	mu       sync.Mutex
	replies  map[string][]Reply
	commands []restic.Command
}

var _ restic.Runner = (*Runner)(nil)

// On sets the replies to the next calls of a subcommand, in order; the last one is repeated.
func (r *Runner) On(subcommand string, replies ...Reply) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.replies == nil {
		r.replies = map[string][]Reply{}
	}
	r.replies[subcommand] = slices.Clone(replies)
}

// Commands returns the commands so far.
func (r *Runner) Commands() []restic.Command {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.commands)
}

// Run implements restic.Runner. A command whose context ends while it waits fails with restic.ErrCanceled and the
// cause.
func (r *Runner) Run(ctx context.Context, cmd restic.Command, onLine func(line []byte)) error {
	reply := r.next(cmd)
	for _, line := range reply.Lines {
		if onLine != nil {
			onLine([]byte(line))
		}
	}
	for _, problem := range reply.Problems {
		if cmd.OnProblem != nil {
			cmd.OnProblem(problem)
		}
	}
	for _, line := range reply.Text {
		if cmd.OnText != nil {
			cmd.OnText(line)
		}
	}
	if reply.Wait != nil {
		select {
		case <-reply.Wait:
		case <-ctx.Done():
			return errors.Join(restic.ErrCanceled, context.Cause(ctx))
		}
	}
	return reply.Err
}

func (r *Runner) next(cmd restic.Command) Reply {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commands = append(r.commands, cmd)
	replies := r.replies[cmd.Args[0]]
	if len(replies) == 0 {
		return Reply{}
	}
	if len(replies) > 1 {
		r.replies[cmd.Args[0]] = replies[1:]
	}
	return replies[0]
}

// Binary returns the path of the real restic: RESTIC_BINARY from the environment, or bin/restic at the root of the
// repository of this source. The test fails if there is none.
func Binary(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("RESTIC_BINARY"); path != "" { //nolint:forbidigo // tests have no main to ask
		if _, err := exec.LookPath(path); err != nil {
			t.Fatalf("RESTIC_BINARY does not name a program: %v", err)
		}
		return path
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod in any folder above the test's")
		}
	}
	path := filepath.Join(dir, "bin", "restic")
	if _, err := exec.LookPath(path); err != nil {
		t.Fatalf("no restic to test with: run `make restic`, or set RESTIC_BINARY: %v", err)
	}
	return path
}

// Process returns the Runner that starts the real restic, with a grace period that suits a test.
func Process(t testing.TB) restic.Process {
	t.Helper()
	return restic.Process{Binary: Binary(t), Grace: 10 * time.Second}
}

// Sandboxed returns Process with a sandbox, as the agent uses it. Without root there is none.
func Sandboxed(t testing.TB) restic.Process {
	t.Helper()
	process := Process(t)
	if os.Geteuid() == 0 {
		process.Sandbox = t.TempDir()
	}
	return process
}

// Repository returns how to reach a repository in a directory of the test, which is not made yet: see Client.Init.
func Repository(t testing.TB) restic.Repository {
	t.Helper()
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("correct horse"), 0o600); err != nil {
		t.Fatal(err)
	}
	return restic.Repository{
		URL:          filepath.Join(dir, "repository"),
		PasswordFile: password,
		CacheDir:     filepath.Join(dir, "cache"),
		Env:          []string{"HOME=" + dir, "TMPDIR=" + dir},
	}
}

// Client returns a Client for a new, empty repository in a directory of the test.
func Client(t testing.TB) *restic.Client {
	t.Helper()
	client := restic.NewClient(Process(t), Repository(t))
	if err := client.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	return client
}
