// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic

import (
	"context"
	"fmt"
	"regexp"
	"strings"
)

// PruneOptions bound what a prune does. Their forms are restic's (restic v0.19.1, doc/060_forget.rst).
type PruneOptions struct {
	// MaxUnused is how much unused data may stay: a share such as 5%, a size such as 200M, or unlimited. Empty is
	// restic's default, 5%.
	MaxUnused string
	// MaxRepackSize bounds how much is read and written anew, such as 10G; empty for no bound.
	MaxRepackSize string
}

// PruneResult is what a prune has done.
type PruneResult struct {
	// Freed is how much less the repository takes, as restic writes it, such as "2.862 MiB"; empty if it did not say.
	Freed string
	// LastLines are restic's last words, at most 2 KiB.
	LastLines string
}

var (
	maxUnused     = regexp.MustCompile(`^(unlimited|\d+(\.\d+)?%|\d+[bBkKmMgGtT]?)$`)
	maxRepackSize = regexp.MustCompile(`^\d+[bBkKmMgGtT]?$`)
	// prunedTotal is the line of the amount (restic v0.19.1, cmd/restic/cmd_prune.go, printPruneStats). Until 0.19.1
	// restic prints it as text even with --json.
	prunedTotal = regexp.MustCompile(`^total prune:\s+\d+ blobs / (\S.*)$`)
)

// Validate returns an error that names the option and its form.
func (o PruneOptions) Validate() error {
	if o.MaxUnused != "" && !maxUnused.MatchString(o.MaxUnused) {
		return fmt.Errorf("maxUnused is %q: it must be a share such as 5%%, a size such as 200M, or unlimited",
			o.MaxUnused)
	}
	if o.MaxRepackSize != "" && !maxRepackSize.MatchString(o.MaxRepackSize) {
		return fmt.Errorf("maxRepackSize is %q: it must be a size such as 10G", o.MaxRepackSize)
	}
	return nil
}

// Prune removes data that no snapshot refers to. It takes restic's exclusive lock.
func (c *Client) Prune(ctx context.Context, o PruneOptions) (PruneResult, error) {
	if c.repository.ReadOnly {
		return PruneResult{}, fmt.Errorf("pruning the repository: %w", ErrReadOnly)
	}
	if err := o.Validate(); err != nil {
		return PruneResult{}, fmt.Errorf("pruning the repository: %w", err)
	}
	args := append(c.repository.arguments(argPrune), c.repository.lockArgument())
	if o.MaxUnused != "" {
		args = append(args, "--max-unused="+o.MaxUnused)
	}
	if o.MaxRepackSize != "" {
		args = append(args, "--max-repack-size="+o.MaxRepackSize)
	}
	var (
		result PruneResult
		last   stderrReader
	)
	err := c.run(ctx, Command{Args: args}, func(line []byte) {
		last.keep(string(line))
		if match := prunedTotal.FindStringSubmatch(strings.TrimSpace(string(line))); match != nil {
			result.Freed = match[1]
		}
	})
	result.LastLines = last.tail()
	if err != nil {
		return result, fmt.Errorf("pruning the repository: %w", err)
	}
	return result, nil
}
