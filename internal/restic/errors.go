// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// What a failed command means. Each is found by errors.Is in the errors of Runner and Client.
var (
	// ErrRepositoryNotFound says that there is no repository at the URL (exit code 10).
	ErrRepositoryNotFound = errors.New("there is no restic repository at this place")
	// ErrLocked says that another process held a lock for longer than Repository.RetryLock (exit code 11).
	ErrLocked = errors.New("the repository is locked by another process")
	// ErrWrongPassword says that no key of the repository opens with the password (exit code 12).
	ErrWrongPassword = errors.New("the repository does not open with this password")
	// ErrCanceled says that the process was stopped. If it was the context that asked, the error wraps its cause too.
	// Without one, somebody else has sent SIGTERM, or restic has lost its lock.
	ErrCanceled = errors.New("canceled")
	// ErrEmptySnapshot says that a backup found nothing at all to store; there is no snapshot.
	ErrEmptySnapshot = errors.New("there is nothing to back up")
	// ErrSourceIncomplete says that a backup made its snapshot, but could not read all of its source (exit code 3).
	ErrSourceIncomplete = errors.New("not all of the source could be read")
	// ErrForgetIncomplete says that some of the snapshots could not be removed.
	ErrForgetIncomplete = errors.New("not all of the snapshots could be removed")
	// ErrRestoreMetadata says that all content was restored, while some owners, permissions, times or extended
	// attributes could not be set.
	ErrRestoreMetadata = errors.New("all content is restored, but not all of the files' attributes could be set")
	// ErrKilled: another process killed restic, usually the kernel because memory ran out (exit code 137).
	ErrKilled = errors.New("restic was killed, probably because it ran out of memory: " +
		"raise the memory limit of its container")
	// ErrAlreadyInitialized says that there is a repository already.
	ErrAlreadyInitialized = errors.New("the repository exists already")
	// ErrSnapshotNotFound says that the repository has no such snapshot.
	ErrSnapshotNotFound = errors.New("the repository has no such snapshot")
	// ErrParentNotFound says that the snapshot that was to be the parent of a backup could not be read. The backup
	// can do without it.
	ErrParentNotFound = errors.New("the parent snapshot cannot be read")
	// ErrBadTag says that a tag cannot be given to restic.
	ErrBadTag = errors.New("restic cannot store this tag")
	// ErrDamaged says that a check found something in the repository missing or altered.
	ErrDamaged = errors.New("the repository is damaged")
	// ErrConfigDamaged says that the repository's configuration cannot be decrypted with the key that the password
	// opens.
	ErrConfigDamaged = errors.New("the repository's configuration does not fit its key")
	// ErrReadOnly says that the command would write to a repository that must not be written to.
	ErrReadOnly = errors.New("the repository is read-only")
	// ErrBadAnswer says that restic ended well without saying what it was asked for.
	ErrBadAnswer = errors.New("restic gave no usable answer")
)

// Exit codes (restic v0.19.1, doc/075_scripting.rst), and what is added to a signal's number.
const (
	codeFailure     = 1
	codeIncomplete  = 3
	codeNoRepo      = 10
	codeLocked      = 11
	codeBadPassword = 12
	codeInterrupted = 130

	codeNotStarted = -1
	codeSignal     = 128
	codeKilled     = codeSignal + 9
	codeTerminated = codeSignal + 15
)

// ExitError is a command that did not end well.
type ExitError struct {
	// Subcommand is the first argument.
	Subcommand string
	// Code is the exit code; 128 and the signal's number when a signal ended the process; -1 if it was not started.
	Code int
	// Message is restic's own explanation, without secrets; empty if it gave none.
	Message string
	// Output is the end of what restic said besides, at most 2 KiB, without secrets.
	Output string
	// Transport is the last that the program said which restic had started to reach the storage, without secrets;
	// empty if there was none, or if it did not complain.
	Transport string

	// cause is why the context ended, if it had when the process was gone.
	cause error
}

// Error implements error.
func (e *ExitError) Error() string {
	parts := []string{"restic " + e.Subcommand}
	meaning := e.meaning()
	if e.Transport != "" && meaning == nil {
		// What restic makes of the end of that program explains nothing.
		return strings.Join(append(parts, e.Transport), ": ")
	}
	if meaning != nil {
		parts = append(parts, meaning.Error())
	}
	if e.cause != nil {
		parts = append(parts, e.cause.Error())
	}
	switch {
	case meaning == ErrCanceled && e.lastWords() != "": //nolint:errorlint // meaning returns the sentinels
		// "context canceled" explains nothing; what restic had been retrying until then does.
		parts = append(parts, "last words: "+e.lastWords())
	case meaning == ErrCanceled: //nolint:errorlint // as above
	case e.Message != "":
		parts = append(parts, e.Message)
	case e.Output != "":
		parts = append(parts, e.Output)
	}
	if meaning == nil {
		parts = append(parts, fmt.Sprintf("exit code %d", e.Code))
	}
	return strings.Join(parts, ": ")
}

// Said returns all that restic has explained, without what is added here; empty if it was stopped before it said a
// word.
func (e *ExitError) Said() string {
	if e.cause != nil {
		// Its message is then about the stopping.
		return e.lastWords()
	}
	return strings.TrimSpace(e.Message + "\n" + e.Output + "\n" + e.Transport)
}

// Is says whether the target is the sentinel for this end.
func (e *ExitError) Is(target error) bool {
	meaning := e.meaning()
	return meaning != nil && meaning == target
}

// Unwrap returns the cause of the context, if that was what ended the process.
func (e *ExitError) Unwrap() error { return e.cause }

// meaning is the one place where an end is given its meaning. Nil is a failure that has no name here.
func (e *ExitError) meaning() error {
	if e.cause != nil {
		// Asked to stop, restic ends with 130, by the signal, or with 1 where one of its layers has lost the
		// reason. Whatever it says, the asking came first.
		return ErrCanceled
	}
	switch e.Code {
	case codeFailure:
		return e.failure()
	case codeIncomplete:
		return e.incomplete()
	case codeNoRepo:
		// The config file was looked for and is not there; a storage that does not answer gives 1.
		return ErrRepositoryNotFound
	case codeLocked:
		// Only after --retry-lock has passed.
		return ErrLocked
	case codeBadPassword:
		// No other password will be tried, so trying again does not help.
		return ErrWrongPassword
	case codeInterrupted, codeTerminated:
		// Somebody else's SIGTERM, or restic stopped itself because its lock could not be refreshed in time.
		return ErrCanceled
	case codeKilled:
		// Nobody here sends SIGKILL without having asked first.
		return ErrKilled
	}
	// restic's documentation: an unknown exit code is a failure. 2 is a crash of its own.
	return nil
}

// incomplete tells the two uses of exit code 3 apart.
func (e *ExitError) incomplete() error {
	switch e.Subcommand {
	case argBackup:
		return ErrSourceIncomplete
	case argForget:
		return ErrForgetIncomplete
	}
	return nil
}

// failure names those of the ends with exit code 1 that only the message tells apart. Where restic changes its words
// they become failures without a name, which is safe.
func (e *ExitError) failure() error {
	says := func(part string) bool { return strings.Contains(e.Message, part) }
	switch e.Subcommand {
	case argBackup:
		switch {
		case says("snapshot is empty"):
			return ErrEmptySnapshot
		case says("failed to load snapshot"):
			// The parent is the only snapshot that a backup loads.
			return ErrParentNotFound
		}
	case argCat:
		// restic v0.19.1, internal/repository/repository.go, SearchKey. Only the crypto layer speaks of verification.
		if says("config or key") && says("is damaged") {
			return ErrConfigDamaged
		}
	case argInit:
		if says("config file already exists") {
			return ErrAlreadyInitialized
		}
	case argCheck:
		if says("repository contains errors") {
			return ErrDamaged
		}
	case argRestore:
		if says("failed to find snapshot") &&
			(says("no matching ID found") || says("no such file") || says("does not exist")) {
			return ErrSnapshotNotFound
		}
	}
	return nil
}

// rcloneSays returns the last words of rclone, which restic hands on (restic v0.19.1,
// internal/backend/rclone/backend.go).
func rcloneSays(output string) string {
	said := ""
	for line := range strings.Lines(output) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "rclone: "); ok && rest != "" {
			said = "rclone: " + rest
		}
	}
	return said
}

// lastWords returns what was wrong until the process was stopped, as far as anybody has said it.
func (e *ExitError) lastWords() string { return cmp.Or(e.Transport, lastWords(e.Output)) }

// lastWords returns the last line, or all of the last failure that was to be tried again, whose text may have several.
func lastWords(text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		// restic's own note that the signal has come is the last one, and no news; lines of dashes are decoration.
		if strings.Trim(line, "-") == "" || strings.Contains(line, "received, cleaning up") {
			continue
		}
		if strings.Contains(line, "retrying after") {
			kept = kept[:0]
		}
		kept = append(kept, line)
	}
	if len(kept) > 0 && !strings.Contains(kept[0], "retrying after") {
		kept = kept[len(kept)-1:]
	}
	return strings.Join(kept, " ")
}
