// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package page reads the commands and manifests that the README and the pages of docs/ show, and does with them what a
// reader would: runs the commands, in the page's order, and hands the manifests to an API server.
package page

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Page is one file for readers.
type Page struct {
	// File is its path in the repository, such as docs/install.md.
	File   string
	Blocks []Block
}

// Block is something that a reader may type or copy: a fenced block, or a piece of code within a line.
type Block struct {
	// Line is where it begins, from 1.
	Line int
	// Section is the nearest heading above it, without its marks.
	Section string
	// Language is what follows the fence, empty for none.
	Language string
	// Inline says that it is code within a line.
	Inline bool
	Text   string
}

// Files are the paths of the pages whose commands are run, the README first. The repository is its root directory.
func Files(repository string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(repository, "docs", "*.md"))
	if err != nil {
		return nil, fmt.Errorf("listing the pages: %w", err)
	}
	files := []string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
	for _, path := range found {
		files = append(files, filepath.Join("docs", filepath.Base(path)))
	}
	slices.Sort(files[1:])
	return files, nil
}

// Records are the paths of the pages in directories of docs, whose commands are not run: decisions and references. Each
// directory has a README.md, which links to the others.
func Records(repository string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(repository, "docs", "*", "*.md"))
	if err != nil {
		return nil, fmt.Errorf("listing the pages: %w", err)
	}
	var files []string
	for _, path := range found {
		files = append(files, filepath.Join("docs", filepath.Base(filepath.Dir(path)), filepath.Base(path)))
	}
	return files, nil
}

// Read parses the page at this path in the repository.
func Read(repository, file string) (Page, error) {
	content, err := os.ReadFile(filepath.Join(repository, file))
	if err != nil {
		return Page{}, fmt.Errorf("reading a page: %w", err)
	}
	return Parse(file, string(content))
}

var (
	fence   = regexp.MustCompile("^( *)```+ *([A-Za-z]*) *$")
	heading = regexp.MustCompile(`^#+ +(.*)$`)
	span    = regexp.MustCompile("`([^`]+)`")
)

// Parse finds the blocks of a page. It fails on a fence that has no end or carries more than a language: the rest of
// the page would be taken for something that it is not.
func Parse(file, content string) (Page, error) {
	r := &reader{page: Page{File: file}, lines: strings.Split(content, "\n")}
	for r.next < len(r.lines) {
		if !strings.HasPrefix(strings.TrimSpace(r.lines[r.next]), "```") {
			r.paragraph()
			continue
		}
		if err := r.fenced(); err != nil {
			return r.page, fmt.Errorf("%s:%d: %w", file, r.next+1, err)
		}
	}
	return r.page, nil
}

// reader is one call of Parse.
type reader struct {
	page    Page
	lines   []string
	next    int
	section string
}

// paragraph reads up to the next empty line or fence, since code may go over the end of a line.
func (r *reader) paragraph() {
	first := r.next
	for ; r.next < len(r.lines); r.next++ {
		line := strings.TrimSpace(r.lines[r.next])
		if line == "" || strings.HasPrefix(line, "```") {
			break
		}
		if found := heading.FindStringSubmatch(line); found != nil {
			if r.next > first {
				break
			}
			r.section = found[1]
		}
	}
	text := strings.Join(r.lines[first:r.next], "\n")
	for _, found := range span.FindAllStringSubmatchIndex(text, -1) {
		code := strings.Join(strings.Fields(text[found[2]:found[3]]), " ")
		r.page.Blocks = append(r.page.Blocks, Block{
			Line: first + 1 + strings.Count(text[:found[0]], "\n"), Section: r.section, Inline: true,
			Text: strings.ReplaceAll(code, `\|`, "|"), // as a cell of a table has it
		})
	}
	if r.next < len(r.lines) && strings.TrimSpace(r.lines[r.next]) == "" {
		r.next++
	}
}

func (r *reader) fenced() error {
	found := fence.FindStringSubmatch(r.lines[r.next])
	if found == nil {
		return fmt.Errorf("a fence has ``` and one word: %q", r.lines[r.next])
	}
	block := Block{Line: r.next + 1, Section: r.section, Language: strings.ToLower(found[2])}
	var text []string
	for at := r.next + 1; at < len(r.lines); at++ {
		if strings.TrimSpace(r.lines[at]) == "```" {
			block.Text = strings.Join(text, "\n") + "\n"
			r.page.Blocks = append(r.page.Blocks, block)
			r.next = at + 1
			return nil
		}
		text = append(text, strings.TrimPrefix(r.lines[at], found[1]))
	}
	return errors.New("the fence has no end")
}

// treatment is what becomes of a block.
type treatment int

const (
	// prose needs nothing: a name, a message, a drawing.
	prose treatment = iota
	// command is run.
	command
	// mention names a command without all of its words: its parts must exist.
	mention
	// manifest is given to the API server, or decoded.
	manifest
	// document is decoded.
	document
)

// programs start a line of commands. Of most of them a page only names parts.
var (
	programs = regexp.MustCompile(`^(kubectl|oc|velero|velero-restic|restic|make|docker|` +
		`ctr|kind|go|curl|helm|ssh|rclone)( |$)`)
	typed   = regexp.MustCompile(`^(kubectl|make) `)
	named   = regexp.MustCompile(`^(velero|velero-restic|restic) [a-z]+`)
	partial = regexp.MustCompile(`^(kubectl|velero|velero-restic) `)
)

// treat decides what becomes of a block. The error names a block of which that cannot be told.
func (b Block) treat() (treatment, error) {
	if b.Inline {
		return b.treatInline(), nil
	}
	switch b.Language {
	case "bash", "sh", "shell", "console":
		return command, nil
	case "yaml", "yml":
		return manifest, nil
	case "json":
		return document, nil
	case "", "text", "diff", "promql":
		for line := range strings.Lines(b.Text) {
			if programs.MatchString(strings.TrimPrefix(line, "$ ")) {
				return prose, fmt.Errorf("%q looks like a command: begin its block with ```bash", line)
			}
		}
		return prose, nil
	}
	return prose, fmt.Errorf("nobody knows what to do with a block of language %q", b.Language)
}

func (b Block) treatInline() treatment {
	switch {
	case strings.Contains(b.Text, "…") && !partial.MatchString(b.Text):
		return prose
	case strings.Contains(b.Text, "…"):
		return mention
	case typed.MatchString(b.Text):
		return command
	case named.MatchString(b.Text):
		return mention
	}
	return prose
}

// script is what a shell runs for a block of commands: of a transcript, only what follows the prompt in column 1.
func (b Block) script() string {
	if b.Language != "console" {
		return b.Text
	}
	var script strings.Builder
	for line := range strings.Lines(b.Text) {
		if typed, found := strings.CutPrefix(line, "$ "); found {
			script.WriteString(typed)
		}
	}
	return script.String()
}
