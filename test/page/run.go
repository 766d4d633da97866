// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package page

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// Guide describes how a test follows a page: the preparation, the values for words in capitals, and the expected
// output. All scripts are bash, and run in the workspace.
type Guide struct {
	// File is the page's path in the repository.
	File string
	// Server is true if the page needs only an API server, without nodes and without Velero.
	Server bool
	// Before creates what the page assumes, and After removes what the page leaves.
	Before, After string
	// Replace maps a word or a piece of text on the page to the value that a reader would use. The value may be a
	// command substitution $(…) of the shell.
	Replace map[string]string
	// Checks run after blocks.
	Checks []Check
	// Apply has pieces of the manifests to apply. All other manifests are only validated with --dry-run=server.
	Apply []string
	// Skips are the blocks that the test does not run.
	Skips []Skip
	// Only selects blocks; nil for the whole page.
	Only *Only
}

// Only selects blocks of a section.
type Only struct {
	// Section is the nearest heading above the blocks.
	Section string
	// Block is a piece of the text of each block; empty for the whole section.
	Block string
}

func (o *Only) selects(block Block) bool {
	return o == nil || block.Section == o.Section && strings.Contains(block.Text, o.Block)
}

// Check is a check after the first block that contains Block.
type Check struct {
	// Block is a piece of the block's text.
	Block string
	// Output has pieces that the output of the block must contain.
	Output []string
	// Script runs after the block and must succeed. Its output must contain the pieces in ScriptOutput.
	Script       string
	ScriptOutput []string
}

// Skip is a block that the test does not run.
type Skip struct {
	// Block is a piece of the block's text.
	Block string
	// Reason explains why the test skips the block.
	Reason string
	// Instead is a script that tests as much of the block as possible; empty if nothing can be tested.
	Instead string
}

// Follow follows a page from its beginning, up to a section if until is not empty. It prints each block to out, and
// stops at the first block that fails. The error starts with page:line. It also fails if the guide names a block that
// the page does not have, unless it ends before the end of the page.
func (w *Workspace) Follow(ctx context.Context, guide Guide, until string, out io.Writer) error {
	p, err := Read(w.repository, guide.File)
	if err != nil {
		return err
	}
	r := &run{workspace: w, guide: guide, page: p, out: out, used: map[string]bool{}}
	return errors.Join(r.blocks(ctx, until), r.cleanUp(ctx))
}

// blocks runs the preparation, and then one block after the other.
func (r *run) blocks(ctx context.Context, until string) error {
	if output, err := r.workspace.Run(ctx, r.guide.Before); err != nil {
		return fmt.Errorf("%s: preparing: %w: %s", r.guide.File, err, output)
	}
	done := 0
	for _, block := range r.page.Blocks {
		if until != "" && block.Section == until {
			return nil
		}
		if !r.guide.Only.selects(block) {
			continue
		}
		done++
		if err := r.block(ctx, block); err != nil {
			return fmt.Errorf("%s:%d: %w", r.guide.File, block.Line, err)
		}
	}
	switch {
	case until != "":
		return fmt.Errorf("%s has no section %q", r.guide.File, until)
	case done == 0 && r.guide.Only != nil:
		only := r.guide.Only
		return fmt.Errorf("%s, section %q: no block contains %q", r.guide.File, only.Section, only.Block)
	}
	return r.unused()
}

// cleanUp also runs after a failure, so that the test can follow the next page.
func (r *run) cleanUp(ctx context.Context) error {
	if output, err := r.workspace.Run(ctx, r.guide.After); err != nil {
		return fmt.Errorf("%s: cleaning up: %w: %s", r.guide.File, err, output)
	}
	return nil
}

// run is one call of Follow.
type run struct {
	workspace *Workspace
	guide     Guide
	page      Page
	out       io.Writer
	// used has the pieces of blocks that the guide names and the page has, each with its purpose in the guide.
	used map[string]bool
}

func (r *run) block(ctx context.Context, block Block) error {
	action, err := block.action()
	if err != nil || action == actionNone {
		return err
	}
	if skip, found := r.skip(block); found {
		if skip.Instead == "" {
			return nil
		}
		return r.script(ctx, block, skip.Instead)
	}
	typed := block
	if r.workspace.kubelet != "" && action == actionRun {
		typed.Text = plainBase.ReplaceAllString(typed.Text, "examples/kubelet-root$1")
	}
	typed.Text = replaceAll(typed.Text, r.guide.Replace)
	switch action {
	case actionRun:
		return r.script(ctx, block, typed.script())
	case actionLookUp:
		return r.workspace.lookUp(ctx, block.Text)
	case actionApply:
		return r.manifest(ctx, block, typed.Text)
	case actionDecode:
		return checkJSON(typed.Text)
	default:
		return nil
	}
}

// plainBase matches the base, but not one of its parts.
var plainBase = regexp.MustCompile(`(?m)examples/base(\s|$)`)

// replaceAll replaces each key with its value in one pass, so it never replaces text within a value. It does not
// replace a key that is a word within a longer word.
func replaceAll(text string, replace map[string]string) string {
	keys := make([]string, 0, len(replace))
	for key := range replace {
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return text
	}
	slices.SortFunc(keys, func(a, b string) int { return len(b) - len(a) })
	word := regexp.MustCompile(`^\w+$`)
	patterns := make([]string, 0, len(keys))
	for _, key := range keys {
		pattern := regexp.QuoteMeta(key)
		if word.MatchString(key) {
			pattern = `\b` + pattern + `\b`
		}
		patterns = append(patterns, pattern)
	}
	either := regexp.MustCompile(strings.Join(patterns, "|"))
	return either.ReplaceAllStringFunc(text, func(found string) string { return replace[found] })
}

// script runs the script of a block, waits for Velero, and runs the checks of the block.
func (r *run) script(ctx context.Context, block Block, script string) error {
	if strings.TrimSpace(script) == "" {
		return errors.New("the block has no command: start each command of a transcript with \"$ \" in column 1")
	}
	fmt.Fprintf(r.out, "%s:%d\n%s\n", r.guide.File, block.Line, indent(script))
	before := ""
	if startsVelero.MatchString(script) {
		before, _ = r.workspace.Run(ctx, listVelero)
	}
	output, err := r.workspace.Run(ctx, script)
	if err != nil {
		return fmt.Errorf("running the block: %w\n%s\nprinted\n%s", err, indent(script), indent(output))
	}
	if startsVelero.MatchString(script) {
		if err := r.waitForVelero(ctx, before); err != nil {
			return err
		}
	}
	for _, check := range r.guide.Checks {
		if !strings.Contains(block.Text, check.Block) || r.used["check "+check.Block] {
			continue
		}
		r.used["check "+check.Block] = true
		if err := r.check(ctx, check, output); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) check(ctx context.Context, check Check, output string) error {
	if missing := missing(output, check.Output); missing != "" {
		return fmt.Errorf("the output does not contain %q:\n%s", missing, indent(output))
	}
	if check.Script == "" {
		return nil
	}
	printed, err := r.workspace.Run(ctx, check.Script)
	if err != nil {
		return fmt.Errorf("running the check %s: %w\n%s", check.Script, err, indent(printed))
	}
	if missing := missing(printed, check.ScriptOutput); missing != "" {
		return fmt.Errorf("the output of the check %s does not contain %q:\n%s", check.Script, missing, indent(printed))
	}
	return nil
}

func missing(text string, pieces []string) string {
	for _, piece := range pieces {
		if !strings.Contains(text, piece) {
			return piece
		}
	}
	return ""
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}

func (r *run) skip(block Block) (Skip, bool) {
	for _, skip := range r.guide.Skips {
		if strings.Contains(block.Text, skip.Block) {
			r.used["skip "+skip.Block] = true
			return skip, true
		}
	}
	return Skip{}, false
}

// unused returns an error for each block that the guide names and the page does not have. Such a guide is out of date.
func (r *run) unused() error {
	var problems []error
	report := func(kind, piece string) {
		if !r.used[kind+" "+piece] {
			problems = append(problems, fmt.Errorf("%s: the guide names a block with %q, which the page does not have",
				r.guide.File, piece))
		}
	}
	for _, check := range r.guide.Checks {
		report("check", check.Block)
	}
	for _, skip := range r.guide.Skips {
		report("skip", skip.Block)
	}
	for _, piece := range r.guide.Apply {
		report("apply", piece)
	}
	return errors.Join(problems...)
}
