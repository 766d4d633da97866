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

// startsVelero is a command after which a reader waits until Velero is done.
var startsVelero = regexp.MustCompile(`\bvelero (--?\S+ )*(create )?(backup|restore|schedule) `)

// listVelero prints kind, name and phase of what Velero works on, a line each.
const listVelero = `kubectl -n velero get backups.velero.io,restores.velero.io,deletebackuprequests.velero.io \
  --ignore-not-found -o jsonpath='{range .items[*]}{.kind}/{.metadata.name} {.status.phase}{"\n"}{end}'`

// settleLimit bounds the wait for backups, restores and deletions that a block has started.
const settleLimit = 3 * time.Minute

// settle waits until Velero has nothing to do. What the block has started must have ended well.
func (w *walk) settle(ctx context.Context, before string) error {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	for {
		listed, err := w.desk.Run(ctx, listVelero)
		if err != nil {
			return fmt.Errorf("waiting for Velero: %w: %s", err, listed)
		}
		busy, bad := judge(listed, before)
		if len(busy) == 0 {
			if len(bad) > 0 {
				return fmt.Errorf("waiting for Velero: not ended well: %s", strings.Join(bad, ", "))
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for Velero: %s: %w", strings.Join(busy, ", "), ctx.Err())
		case <-time.After(time.Second):
		}
	}
}

// judge tells what is not done, and what has ended badly since.
func judge(listed, before string) (busy, bad []string) {
	known := strings.Split(before, "\n")
	for line := range strings.Lines(listed) {
		line = strings.TrimRight(line, "\n")
		switch _, phase, _ := strings.Cut(line, " "); phase {
		case "Completed", "Processed":
		case "Failed", "PartiallyFailed", "FailedValidation":
			if !slices.Contains(known, line) {
				bad = append(bad, line)
			}
		default:
			busy = append(busy, line)
		}
	}
	return busy, bad
}

// checkMention makes sure that a command that a page names, with some of its words, exists: the program's help knows
// the sub-command and each flag.
func (d *Desk) checkMention(ctx context.Context, text string) error {
	words := strings.Fields(text)
	command := []string{words[0]}
	for _, word := range words[1:] {
		if !regexp.MustCompile(`^[a-z][a-z-]*$`).MatchString(word) {
			break
		}
		command = append(command, word)
	}
	help, err := d.Run(ctx, strings.Join(command, " ")+" --help")
	if err != nil {
		return fmt.Errorf("the page names %q: %w: %s", text, err, help)
	}
	for _, flag := range regexp.MustCompile(`--[a-z][a-z-]*`).FindAllString(text, -1) {
		if !strings.Contains(help, flag) {
			return fmt.Errorf("the page names %q: %s has no flag %s", text, strings.Join(command, " "), flag)
		}
	}
	if usage := "  " + strings.Join(command, " "); !strings.Contains(help, usage) {
		return fmt.Errorf("the page names %q: there is no such command", text)
	}
	return nil
}
