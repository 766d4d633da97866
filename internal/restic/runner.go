// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package restic runs the restic program and turns its arguments, its JSON output and its exit codes into Go values.
// It is the only package of the project that starts processes, and it knows nothing of Kubernetes.
//
// The formats are those of restic v0.19.1 (doc/075_scripting.rst). Messages and fields that it does not know are
// passed over: restic adds to them at any time.
package restic

import (
	"context"

	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/sandbox"
)

// Command is one call of restic.
type Command struct {
	// Args are the arguments; Args[0] is the subcommand. They are visible to everybody on the node: no secrets.
	Args []string
	// Env is the whole environment, as KEY=value. Nothing is inherited.
	Env []string
	// Dir is the working directory; empty for that of this process.
	Dir string
	// Paths are the files and directories that the command needs: see Process.Sandbox.
	Paths []sandbox.Path
	// TransportErrors is Repository.TransportErrors.
	TransportErrors string
	// MaxLine is the longest line of the standard output, in bytes; 0 means DefaultMaxLine. Longer lines are left out.
	MaxLine int
	// OnProblem, if set, is called for every problem with a single file or directory that restic tells of, in order.
	OnProblem func(Problem)
	// OnText, if set, is called for every line of the standard error that is no message, without its newline: what
	// restic has only for people. Secrets are taken out.
	OnText func(line string)
}

// DefaultMaxLine is how long a line may be, in bytes, unless the command says otherwise. A status line names the files
// that are being read, at most 4 KiB each; 1 MiB is far beyond.
const DefaultMaxLine = 1 << 20

// Problem is what restic says of a file or directory that it could not handle, while it went on with the others.
type Problem struct {
	// Item is the path as restic names it; empty when the problem is not about one.
	Item string
	// During is the activity: "scan" or "archival" for a backup, "restore" for a restore.
	During string
	// Message is restic's text.
	Message string
}

// Runner runs one command to its end.
//
// Run calls onLine, if not nil, for each line of the standard output, in order and without its newline; the line is
// only valid during the call. onLine, cmd.OnProblem and cmd.OnText are never called at the same time, and not after
// Run has returned. All must return soon: restic waits for them.
//
// When ctx ends, Run stops the process, first by asking it, and returns only when it is gone. A command that has
// ended well by then counts as that. Every other end gives an *ExitError, or another error if the process could not
// be started at all; that one too is an ErrCanceled if ctx had ended before.
//
// Calls may overlap. Run does not retry.
type Runner interface {
	Run(ctx context.Context, cmd Command, onLine func(line []byte)) error
}
