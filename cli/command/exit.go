// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import (
	"context"
	"errors"
)

// ExitCode is the exit code of the process. docs/cli.md documents the codes.
type ExitCode int

// The exit codes.
const (
	// ExitOK: the command succeeded.
	ExitOK ExitCode = 0
	// ExitFailure: the command failed.
	ExitFailure ExitCode = 1
	// ExitUsage: the command line is invalid.
	ExitUsage ExitCode = 2
	// ExitProblemFound: the command succeeded, and the result is bad: damage, a failed backup, unprotected claims.
	ExitProblemFound ExitCode = 3
	// ExitTimeout: --timeout has passed.
	ExitTimeout ExitCode = 4
	// ExitInterrupted: the user stopped the command. Shells use 128 plus the number of SIGINT.
	ExitInterrupted ExitCode = 130
)

// Error is an error with an exit code.
type Error struct {
	// Code is the exit code of the process.
	Code ExitCode
	// Err is the error to print; nil if the output already shows the problem.
	Err error
	// Next is what the user can do next; empty if there is nothing to suggest.
	Next string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err == nil {
		return "the command found a problem"
	}
	return e.Err.Error()
}

// Unwrap implements errors.Unwrap.
func (e *Error) Unwrap() error { return e.Err }

// NewError returns an error with exit code 1 and what the user can do next.
func NewError(err error, next string) error { return &Error{Code: ExitFailure, Err: err, Next: next} }

// UsageError returns an error about the command line.
func UsageError(err error) error { return &Error{Code: ExitUsage, Err: err} }

// ProblemError returns an error for a command whose result is bad. With a nil error, nothing is printed.
func ProblemError(err error) error { return &Error{Code: ExitProblemFound, Err: err} }

// TimeoutError returns an error for --timeout. next says what continues without the command, and how to look at it.
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
