// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package page reads the commands and manifests in the README and the pages of docs/, and uses them as a reader does:
// it runs the commands in the page's order, and sends the manifests to an API server.
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

// Page is one page of the documentation.
type Page struct {
	// File is its path in the repository, such as docs/install.md.
	File   string
	Blocks []Block
}

// Block is text that a reader may type or copy: a fenced block, or a code span within a line.
type Block struct {
	// Line is the number of its first line, from 1.
	Line int
	// Section is the nearest heading above it, without the # characters.
	Section string
	// Language is the word after the fence; empty if there is none.
	Language string
	// Inline is true for a code span within a line.
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

// Read parses the page at this path in the repository. It fails as Parse does, or if it cannot read the file.
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

// Parse returns the blocks of a page. It fails if a fence has no end, or if more than a language follows it, because
// the rest of the page would be misread.
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

// paragraph reads up to the next empty line or fence, because a code span may continue on the next line.
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
			Text: strings.ReplaceAll(code, `\|`, "|"), // a table cell escapes it
		})
	}
	if r.next < len(r.lines) && strings.TrimSpace(r.lines[r.next]) == "" {
		r.next++
	}
}

func (r *reader) fenced() error {
	found := fence.FindStringSubmatch(r.lines[r.next])
	if found == nil {
		return fmt.Errorf("a fence must be ``` and one word: %q", r.lines[r.next])
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

// action is what a test does with a block.
type action int

const (
	// actionNone: a name, a message, a drawing.
	actionNone action = iota
	// actionRun: a command.
	actionRun
	// actionLookUp: a command without all of its arguments; the command and its flags must exist.
	actionLookUp
	// actionApply: a manifest for the API server, or a configuration file to decode.
	actionApply
	// actionDecode: a JSON document.
	actionDecode
)

// programs matches a line that starts with a program. For most programs, a page shows only parts of commands.
var (
	programs = regexp.MustCompile(`^(kubectl|oc|velero|velero-restic|restic|make|docker|` +
		`ctr|kind|go|curl|helm|ssh|rclone)( |$)`)
	typed   = regexp.MustCompile(`^(kubectl|make) `)
	named   = regexp.MustCompile(`^(velero|velero-restic|restic) [a-z]+`)
	partial = regexp.MustCompile(`^(kubectl|velero|velero-restic) `)
)

// action returns what a test does with a block. The error names a block for which that is unclear.
func (b Block) action() (action, error) {
	if b.Inline {
		return b.inlineAction(), nil
	}
	switch b.Language {
	case "bash", "sh", "shell", "console":
		return actionRun, nil
	case "yaml", "yml":
		return actionApply, nil
	case "json":
		return actionDecode, nil
	case "", "text", "diff", "promql":
		for line := range strings.Lines(b.Text) {
			if programs.MatchString(strings.TrimPrefix(line, "$ ")) {
				return actionNone, fmt.Errorf("%q looks like a command: start its block with ```bash", line)
			}
		}
		return actionNone, nil
	}
	return actionNone, fmt.Errorf("a block has the unknown language %q: add it to test/page, or use bash, yaml or json",
		b.Language)
}

func (b Block) inlineAction() action {
	switch {
	case strings.Contains(b.Text, "…") && !partial.MatchString(b.Text):
		return actionNone
	case strings.Contains(b.Text, "…"):
		return actionLookUp
	case typed.MatchString(b.Text):
		return actionRun
	case named.MatchString(b.Text):
		return actionLookUp
	}
	return actionNone
}

// script returns what a shell runs for a block of commands. For a transcript, that is only the text after the prompt in
// column 1.
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
