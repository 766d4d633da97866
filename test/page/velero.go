// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package page

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// startsVelero matches a command after which a reader waits until Velero is done.
var startsVelero = regexp.MustCompile(`\bvelero (--?\S+ )*(create )?(backup|restore|schedule) `)

// listVelero prints a line with kind, name and phase of each object that Velero processes.
const listVelero = `kubectl -n velero get backups.velero.io,restores.velero.io,deletebackuprequests.velero.io \
  --ignore-not-found -o jsonpath='{range .items[*]}{.kind}/{.metadata.name} {.status.phase}{"\n"}{end}'`

// veleroTimeout limits the wait for backups, restores and deletions that a block started.
const veleroTimeout = 3 * time.Minute

// waitForVelero waits until Velero is idle. It fails if an operation that the block started did not succeed.
func (r *run) waitForVelero(ctx context.Context, before string) error {
	ctx, cancel := context.WithTimeout(ctx, veleroTimeout)
	defer cancel()
	for {
		listed, err := r.workspace.Run(ctx, listVelero)
		if err != nil {
			return fmt.Errorf("waiting for Velero: %w: %s", err, listed)
		}
		running, failed := evaluate(listed, before)
		if len(running) == 0 {
			if len(failed) > 0 {
				return fmt.Errorf("waiting for Velero: failed: %s", strings.Join(failed, ", "))
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for Velero: %s: %w", strings.Join(running, ", "), ctx.Err())
		case <-time.After(time.Second):
		}
	}
}

// evaluate returns the objects that are not done, and those that failed and are not in the earlier list.
func evaluate(listed, before string) (running, failed []string) {
	known := strings.Split(before, "\n")
	for line := range strings.Lines(listed) {
		line = strings.TrimRight(line, "\n")
		switch _, phase, _ := strings.Cut(line, " "); phase {
		case "Completed", "Processed":
		case "Failed", "PartiallyFailed", "FailedValidation":
			if !slices.Contains(known, line) {
				failed = append(failed, line)
			}
		default:
			running = append(running, line)
		}
	}
	return running, failed
}

// lookUp fails if a command that a page names without all of its arguments does not exist: the program's help must have
// the subcommand and each flag.
func (w *Workspace) lookUp(ctx context.Context, text string) error {
	words := strings.Fields(text)
	command := []string{words[0]}
	for _, word := range words[1:] {
		if !regexp.MustCompile(`^[a-z][a-z-]*$`).MatchString(word) {
			break
		}
		command = append(command, word)
	}
	help, err := w.Run(ctx, strings.Join(command, " ")+" --help")
	if err != nil {
		return fmt.Errorf("the page names %q: %w: %s", text, err, help)
	}
	for _, flag := range regexp.MustCompile(`--[a-z][a-z-]*`).FindAllString(text, -1) {
		if !strings.Contains(help, flag) {
			return fmt.Errorf("the page names %q: %s has no flag %s", text, strings.Join(command, " "), flag)
		}
	}
	if usage := "  " + strings.Join(command, " "); !strings.Contains(help, usage) {
		return fmt.Errorf("the page names %q: this command does not exist", text)
	}
	return nil
}
