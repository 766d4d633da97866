// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import (
	"context"
	"errors"
)

// Code is the exit code of the process. docs/cli.md lists them for users.
type Code int

// The codes.
const (
	// OK is done, and well.
	OK Code = 0
	// Unable is that the command could not do its work.
	Unable Code = 1
	// Usage is a wrong command line.
	Usage Code = 2
	// Bad is done, and the answer is bad: damage, a failed backup, unprotected claims.
	Bad Code = 3
	// Late is that a deadline has passed.
	Late Code = 4
	// Interrupted is that the user has stopped it: 128 and the number of SIGINT, as shells count.
	Interrupted Code = 130
)

// Error is the end of a command that was not good.
type Error struct {
	// Code is the exit code.
	Code Code
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
func Fail(err error, next string) error { return &Error{Code: Unable, Err: err, Next: next} }

// Misused is an error of the command line.
func Misused(err error) error { return &Error{Code: Usage, Err: err} }

// Verdict ends a command whose answer is bad. With a nil error nothing more is said.
func Verdict(err error) error { return &Error{Code: Bad, Err: err} }

// TimedOut is a deadline that has passed; next says what goes on without this command, and how to look at it.
func TimedOut(err error, next string) error { return &Error{Code: Late, Err: err, Next: next} }

// CodeOf returns the exit code of an error.
func CodeOf(err error) Code {
	var end *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &end):
		return end.Code
	case errors.Is(err, context.DeadlineExceeded):
		return Late
	case errors.Is(err, context.Canceled):
		return Interrupted
	}
	return Unable
}
