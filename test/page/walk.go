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

// Guide is what it takes to follow a page: what the reader has beforehand, what stands for the words in capitals, what
// must be seen. All scripts are bash and run at the desk.
type Guide struct {
	// File is the page's path in the repository.
	File string
	// Server says that an API server is enough, without nodes and without Velero: nothing on the page starts or ends.
	Server bool
	// Before makes what the page takes for granted, and After removes what it left.
	Before, After string
	// Replace maps what stands on the page to what a reader would put there: a word, or a piece of text. The value may
	// be a shell's $(…).
	Replace map[string]string
	// Checks follow blocks.
	Checks []Check
	// Apply are pieces of manifests that the reader applies; all others are only tried with --dry-run=server.
	Apply []string
	// Left are the blocks that are not done.
	Left []Left
	// Only says which blocks a reader does here; nil for all of the page.
	Only *Only
}

// Only picks a few blocks of a section.
type Only struct {
	// Section is their nearest heading.
	Section string
	// Block is a piece of each block's text; empty for all of the section.
	Block string
}

func (o *Only) picks(block Block) bool {
	return o == nil || block.Section == o.Section && strings.Contains(block.Text, o.Block)
}

// Check belongs to the first block that contains Block.
type Check struct {
	// Block is a piece of the block's text.
	Block string
	// Says are pieces that its output must have.
	Says []string
	// Script runs after it and must succeed; Output, which it prints, must have what Prints says.
	Script string
	Prints []string
}

// Left is a block that a test does not do.
type Left struct {
	// Block is a piece of the block's text.
	Block string
	// Reason is why.
	Reason string
	// Instead is a script that tries of it what can be tried; empty if nothing can.
	Instead string
}

// Walk follows a page from its beginning, up to a section if until is not empty. It tells each block on out, and stops
// at the first that goes wrong: the error begins with page:line. What the guide says of blocks that the page does not
// have is an error, too, unless the walk ends early.
func (d *Desk) Walk(ctx context.Context, guide Guide, until string, out io.Writer) error {
	p, err := Read(d.repository, guide.File)
	if err != nil {
		return err
	}
	w := &walk{desk: d, guide: guide, page: p, out: out, used: map[string]bool{}}
	return errors.Join(w.follow(ctx, until), w.clear(ctx))
}

// follow prepares, and does one block after the other.
func (w *walk) follow(ctx context.Context, until string) error {
	if output, err := w.desk.Run(ctx, w.guide.Before); err != nil {
		return fmt.Errorf("%s: preparing: %w: %s", w.guide.File, err, output)
	}
	done := 0
	for _, block := range w.page.Blocks {
		if until != "" && block.Section == until {
			return nil
		}
		if !w.guide.Only.picks(block) {
			continue
		}
		done++
		if err := w.do(ctx, block); err != nil {
			return fmt.Errorf("%s:%d: %w", w.guide.File, block.Line, err)
		}
	}
	switch {
	case until != "":
		return fmt.Errorf("%s: there is no section %q", w.guide.File, until)
	case done == 0 && w.guide.Only != nil:
		return fmt.Errorf("%s: section %q has no block with %q", w.guide.File, w.guide.Only.Section, w.guide.Only.Block)
	}
	return w.unused()
}

// clear is done after a failure, too, for the sake of the next page.
func (w *walk) clear(ctx context.Context) error {
	if output, err := w.desk.Run(ctx, w.guide.After); err != nil {
		return fmt.Errorf("%s: clearing up: %w: %s", w.guide.File, err, output)
	}
	return nil
}

// walk is one call of Walk.
type walk struct {
	desk  *Desk
	guide Guide
	page  Page
	out   io.Writer
	// used are the pieces of blocks that the guide names and the page has, each after what the guide has them for.
	used map[string]bool
}

func (w *walk) do(ctx context.Context, block Block) error {
	how, err := block.treat()
	if err != nil || how == prose {
		return err
	}
	if left, found := w.left(block); found {
		if left.Instead == "" {
			return nil
		}
		return w.run(ctx, block, left.Instead)
	}
	typed := block
	if w.desk.kubelet != "" && how == command {
		typed.Text = plainBase.ReplaceAllString(typed.Text, "examples/kubelet-root$1")
	}
	typed.Text = replaceAll(typed.Text, w.guide.Replace)
	switch how {
	case command:
		return w.run(ctx, block, typed.script())
	case mention:
		return w.desk.checkMention(ctx, block.Text)
	case manifest:
		return w.manifest(ctx, block, typed.Text)
	case document:
		return checkJSON(typed.Text)
	default:
		return nil
	}
}

// plainBase is the base itself, and not one of the parts in it.
var plainBase = regexp.MustCompile(`(?m)examples/base(\s|$)`)

// replaceAll replaces each key by its value, in one pass: no value is replaced again. A key that is a word is not
// replaced within a longer one.
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

// run runs the script of a block of the page, waits for Velero, and makes the checks that belong to it.
func (w *walk) run(ctx context.Context, block Block, script string) error {
	if strings.TrimSpace(script) == "" {
		return errors.New("there is no command in it: a transcript has them after \"$ \" in column 1")
	}
	fmt.Fprintf(w.out, "%s:%d\n%s\n", w.guide.File, block.Line, indent(script))
	before := ""
	if startsVelero.MatchString(script) {
		before, _ = w.desk.Run(ctx, listVelero)
	}
	output, err := w.desk.Run(ctx, script)
	if err != nil {
		return fmt.Errorf("running the block: %w\n%s\nsays\n%s", err, indent(script), indent(output))
	}
	if startsVelero.MatchString(script) {
		if err := w.settle(ctx, before); err != nil {
			return err
		}
	}
	for _, check := range w.guide.Checks {
		if !strings.Contains(block.Text, check.Block) || w.used["check "+check.Block] {
			continue
		}
		w.used["check "+check.Block] = true
		if err := w.check(ctx, check, output); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) check(ctx context.Context, check Check, output string) error {
	if missing := missing(output, check.Says); missing != "" {
		return fmt.Errorf("its output does not say %q:\n%s", missing, indent(output))
	}
	if check.Script == "" {
		return nil
	}
	printed, err := w.desk.Run(ctx, check.Script)
	if err != nil {
		return fmt.Errorf("checking by %s: %w\n%s", check.Script, err, indent(printed))
	}
	if missing := missing(printed, check.Prints); missing != "" {
		return fmt.Errorf("afterwards %s does not print %q:\n%s", check.Script, missing, indent(printed))
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

func (w *walk) left(block Block) (Left, bool) {
	for _, left := range w.guide.Left {
		if strings.Contains(block.Text, left.Block) {
			w.used["left "+left.Block] = true
			return left, true
		}
	}
	return Left{}, false
}

// unused says what the guide knows and the page does not have: it was written about another version of the page.
func (w *walk) unused() error {
	var problems []error
	say := func(kind, piece string) {
		if !w.used[kind+" "+piece] {
			problems = append(problems, fmt.Errorf("%s: its guide names a block with %q, which the page does not have",
				w.guide.File, piece))
		}
	}
	for _, check := range w.guide.Checks {
		say("check", check.Block)
	}
	for _, left := range w.guide.Left {
		say("left", left.Block)
	}
	for _, piece := range w.guide.Apply {
		say("apply", piece)
	}
	return errors.Join(problems...)
}
