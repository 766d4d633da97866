// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// CheckOptions say how thoroughly a repository is checked.
type CheckOptions struct {
	// Parts is into how many parts the data is divided, at most 256 (restic v0.19.1, cmd/restic/cmd_check.go,
	// totalBucketsMax). 0 reads no data, only the structure.
	Parts int
	// Part is which of them is read, from 1 to Parts.
	Part int
}

// CheckResult is what a check has found.
type CheckResult struct {
	// Errors counts what is damaged or missing.
	Errors int
	// BrokenPacks are the IDs of damaged files under data/, which `restic repair packs` takes.
	BrokenPacks []string
	// SuggestRepairIndex and SuggestPrune say what would mend what was found.
	SuggestRepairIndex, SuggestPrune bool
	// Problems are what restic says of each.
	Problems Warnings
}

// checkSummary is restic's last message of a check (restic v0.19.1, cmd/restic/cmd_check.go).
type checkSummary struct {
	NumErrors    int      `json:"num_errors"`
	BrokenPacks  []string `json:"broken_packs"`
	RepairIndex  bool     `json:"suggest_repair_index"`
	SuggestPrune bool     `json:"suggest_prune"`
}

// Check looks whether the repository is whole. It fails with ErrDamaged when it is not, and the result then says what
// is wrong; with any other error nothing is known. It takes restic's exclusive lock, none on a read-only repository.
func (c *Client) Check(ctx context.Context, o CheckOptions) (CheckResult, error) {
	if o.Parts < 0 || o.Parts > 256 || (o.Parts > 0 && (o.Part < 1 || o.Part > o.Parts)) {
		return CheckResult{}, fmt.Errorf("checking the repository: there is no part %d of %d", o.Part, o.Parts)
	}
	args := append(c.repository.arguments(argCheck), c.repository.readLockArgument())
	if o.Parts > 0 {
		args = append(args, fmt.Sprintf("--read-data-subset=%d/%d", o.Part, o.Parts))
	}
	var (
		result   CheckResult
		answered bool
	)
	cmd := Command{Args: args, OnProblem: func(problem Problem) {
		if tellsDamage(problem.Message) {
			problem.Message = plainMessage(problem.Message)
			result.Problems.add(problem)
		}
	}}
	err := c.run(ctx, cmd, func(line []byte) {
		var summary checkSummary
		m, ok := decodeMessage(line)
		if !ok || m.MessageType != messageSummary || json.Unmarshal(line, &summary) != nil {
			return
		}
		answered = true
		result.Errors, result.BrokenPacks = summary.NumErrors, summary.BrokenPacks
		result.SuggestRepairIndex, result.SuggestPrune = summary.RepairIndex, summary.SuggestPrune
	})
	switch {
	case err == nil && !answered:
		return result, fmt.Errorf("checking the repository: no summary: %w", ErrBadAnswer)
	case err != nil && !errors.Is(err, ErrDamaged):
		// restic prints a summary with one error even where it could not begin.
		return CheckResult{}, fmt.Errorf("checking the repository: %w", err)
	case err != nil:
		return result, fmt.Errorf("checking the repository: %w", err)
	}
	return result, nil
}

// tellsDamage tells restic's findings from its advice about them, which it writes in the same form.
func tellsDamage(message string) bool {
	text := strings.TrimSpace(message)
	for _, advice := range []string{"The repository", "restic repair", "Damaged pack files"} {
		if strings.HasPrefix(text, advice) {
			return false
		}
	}
	return text != ""
}
