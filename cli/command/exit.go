// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import (
	"context"
	"errors"
)

// Code is the exit code of the process. docs/cli.md lists them for users.
type ExitCode int

// The codes.
const (
	// OK is done, and well.
	ExitOK ExitCode = 0
	// Unable is that the command could not do its work.
	ExitFailure ExitCode = 1
	// Usage is a wrong command line.
	ExitUsage ExitCode = 2
	// Bad is done, and the answer is bad: damage, a failed backup, unprotected claims.
	ExitProblemFound ExitCode = 3
	// Late is that a deadline has passed.
	ExitTimeout ExitCode = 4
	// Interrupted is that the user has stopped it: 128 and the number of SIGINT, as shells count.
	ExitInterrupted ExitCode = 130
)

// Error is the end of a command that was not good.
type Error struct {
	// Code is the exit code.
	Code ExitCode
	// Err says what is wrong. Nil is nothing that has not been said on the screen already.
	Err error
	// Next says what the user can do about it; empty if there is nothing to say.
	Next string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err == nil {
		return "the answer is bad"
	}
	return e.Err.Error()
}

// Unwrap implements errors.Unwrap.
func (e *Error) Unwrap() error { return e.Err }

// Fail is an error with exit code 1 that tells what to do.
func NewError(err error, next string) error { return &Error{Code: ExitFailure, Err: err, Next: next} }

// Misused is an error of the command line.
func UsageError(err error) error { return &Error{Code: ExitUsage, Err: err} }

// Verdict ends a command whose answer is bad. With a nil error nothing more is said.
func ProblemError(err error) error { return &Error{Code: ExitProblemFound, Err: err} }

// TimedOut is a deadline that has passed; next says what goes on without this command, and how to look at it.
func TimeoutError(err error, next string) error {
	return &Error{Code: ExitTimeout, Err: err, Next: next}
}

// CodeOf returns the exit code of an error.
func CodeOf(err error) ExitCode {
	var end *Error
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &end):
		return end.Code
	case errors.Is(err, context.DeadlineExceeded):
		return ExitTimeout
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	}
	return ExitFailure
}
