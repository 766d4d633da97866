// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var errCause = errors.New("the volume's deadline has passed")

func TestExitErrorMeaning(t *testing.T) {
	cases := map[string]struct {
		exit ExitError
		want error
	}{
		"no repository":               {ExitError{Subcommand: "cat", Code: 10}, ErrRepositoryNotFound},
		"locked":                      {ExitError{Subcommand: "forget", Code: 11}, ErrLocked},
		"wrong password":              {ExitError{Subcommand: "cat", Code: 12}, ErrWrongPassword},
		"interrupted by somebody":     {ExitError{Subcommand: "backup", Code: 130}, ErrCanceled},
		"terminated before it began":  {ExitError{Subcommand: "backup", Code: 143}, ErrCanceled},
		"killed by somebody":          {ExitError{Subcommand: "backup", Code: 137}, ErrKilled},
		"killed after our asking":     {ExitError{Subcommand: "backup", Code: 137, cause: errCause}, ErrCanceled},
		"failed after our asking":     {ExitError{Subcommand: "backup", Code: 1, cause: errCause}, ErrCanceled},
		"source incomplete":           {ExitError{Subcommand: "backup", Code: 3}, ErrSourceIncomplete},
		"forget incomplete":           {ExitError{Subcommand: "forget", Code: 3}, ErrForgetIncomplete},
		"3 of another command":        {ExitError{Subcommand: "restore", Code: 3}, nil},
		"a crash":                     {ExitError{Subcommand: "backup", Code: 2}, nil},
		"a code that is not known":    {ExitError{Subcommand: "backup", Code: 77}, nil},
		"the words of another's code": {ExitError{Subcommand: "restore", Code: 1, Message: "snapshot is empty"}, nil},
	}
	sentinels := []error{
		ErrRepositoryNotFound, ErrLocked, ErrWrongPassword, ErrCanceled, ErrEmptySnapshot,
		ErrSourceIncomplete, ErrForgetIncomplete, ErrKilled, ErrAlreadyInitialized, ErrSnapshotNotFound, ErrParentNotFound,
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got []error
			for _, sentinel := range sentinels {
				if errors.Is(&c.exit, sentinel) {
					got = append(got, sentinel)
				}
			}
			if c.want == nil && len(got) > 0 || c.want != nil && !slices.Equal(got, []error{c.want}) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if errors.Is(&c.exit, errCause) != (c.exit.cause != nil) {
				t.Error("the cause is not wrapped")
			}
		})
	}
}

func TestRcloneSays(t *testing.T) {
	cases := map[string]struct{ output, want string }{
		"its last words": {
			"rclone: 2026/01/02 NOTICE: one\nrclone: 2026/01/02 CRITICAL: two\nrclone: \n", "rclone: 2026/01/02 CRITICAL: two",
		},
		"nothing": {"the file rclone: none", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := rcloneSays(c.output); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestExitErrorText(t *testing.T) {
	cases := map[string]struct {
		exit ExitError
		want string
	}{
		"restic's own words": {
			ExitError{Subcommand: "cat", Code: 12, Message: "wrong password or no key found"},
			"restic cat: the repository does not open with this password: wrong password or no key found",
		},
		"a failure without a name": {
			ExitError{Subcommand: "backup", Code: 2, Output: "panic: x"}, "restic backup: panic: x: exit code 2",
		},
		"what stands between restic and the storage": {
			ExitError{Subcommand: "cat", Code: 1, Message: "read |0: file already closed", Transport: "no key: put it there"},
			"restic cat: no key: put it there",
		},
		"a failure that has nothing to do with it": {
			ExitError{Subcommand: "cat", Code: 12, Message: "no key found", Transport: "a word by the way"},
			"restic cat: the repository does not open with this password: no key found",
		},
		"what stood between them when it was stopped": {
			ExitError{
				Subcommand: "cat", Code: 130, cause: errCause, Message: "context canceled",
				Output: "signal terminated received, cleaning up", Transport: "connection refused",
			},
			"restic cat: canceled: the volume's deadline has passed: last words: connection refused",
		},
		"what it was trying when it was stopped": {
			ExitError{
				Subcommand: "cat", Code: 130, cause: errCause, Message: "context canceled",
				Output: "first\nconnection refused\nsignal terminated received, cleaning up",
			},
			"restic cat: canceled: the volume's deadline has passed: last words: connection refused",
		},
		"stopped without a word": {
			ExitError{Subcommand: "cat", Code: 130, cause: errCause}, "restic cat: canceled: the volume's deadline has passed",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.exit.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPlainMessage(t *testing.T) {
	cases := map[string]struct{ text, want string }{
		"prefixes and lines": {"Fatal: Fatal: one\nIs there\n/repo", "one Is there /repo"},
		"a stack trace": {
			"no such file\nfailed\n" +
				"github.com/restic/restic/internal/x.Y\n\t/go/x.go:12\nmain.main\n\t/go/m.go:3",
			"no such file failed",
		},
		"nothing": {"", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, plainMessage(c.text)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRedactor(t *testing.T) {
	redact := newRedactor([]string{
		"AWS_SECRET_ACCESS_KEY=hunter2secret", "B2_ACCOUNT_KEY=hunter2", "AWS_REGION=eu-central-1", "X=1", "EMPTY=",
		"RESTIC_REPOSITORY=rest:https://user:pa55@host/r", "HTTPS_PROXY=http://u:proxypass@p:1",
	})
	got := redact.clean("hunter2secret and hunter2 in eu-central-1 at https://user:pa55@host/r 1 via proxypass")
	want := "[AWS_SECRET_ACCESS_KEY] and [B2_ACCOUNT_KEY] in eu-central-1 at " +
		"https://user:[RESTIC_REPOSITORY]@host/r 1 via [HTTPS_PROXY]"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLineWriter(t *testing.T) {
	long := strings.Repeat("x", 90)
	cases := map[string]struct {
		writes []string
		want   []string
	}{
		"lines cut anywhere":            {[]string{"a", "b\nc", "\n", "d"}, []string{"ab", "c", "d"}},
		"an empty line is none":         {[]string{"\n\na\n"}, []string{"a"}},
		"a line over the limit is left": {[]string{"a\n" + long, long + "\nb\n"}, []string{"a", "b"}},
		"at the limit": {
			[]string{strings.Repeat("y", 100) + "\n"}, []string{strings.Repeat("y", 100)},
		},
		"colors and carriage returns": {[]string{"\x1b[2K{\"a\":1}\x1b[31m\r\n\rb\n\x1b["}, []string{`{"a":1}`, "b"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			w := lineWriter{limit: 100, emit: func(line []byte) { got = append(got, string(line)) }}
			for _, text := range c.writes {
				if n, err := w.Write([]byte(text)); n != len(text) || err != nil {
					t.Fatalf("Write returned %d, %v", n, err)
				}
			}
			w.close()
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStderrTailIsBounded(t *testing.T) {
	r := stderrReader{onProblem: func(Problem) {}}
	for range 100 {
		r.line([]byte(strings.Repeat("noise ", 20)))
	}
	r.line([]byte("the last line"))
	r.line([]byte(strings.Repeat("é", tailMax)))
	tail := r.tail()
	if len(tail) > tailMax || len(tail) < tailMax/2 {
		t.Errorf("the tail has %d bytes", len(tail))
	}
}
