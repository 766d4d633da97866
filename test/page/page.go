// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package page reads the commands and manifests that the README and the pages of docs/ show, and does with them what a
// reader would: runs the commands, in the page's order, and hands the manifests to an API server.
package page

import (
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

// Files are the paths of all pages of the repository in this folder, the README first.
func Files(repository string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(repository, "docs", "*.md"))
	if err != nil {
		return nil, fmt.Errorf("listing the pages: %w", err)
	}
	files := []string{"README.md"}
	for _, path := range found {
		files = append(files, filepath.Join("docs", filepath.Base(path)))
	}
	slices.Sort(files[1:])
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
	p := Page{File: file}
	section := ""
	lines := strings.Split(content, "\n")
	for i := 0; i < len(lines); i++ {
		if found := heading.FindStringSubmatch(lines[i]); found != nil {
			section = found[1]
		}
		if !strings.HasPrefix(strings.TrimSpace(lines[i]), "```") {
			for _, code := range span.FindAllStringSubmatch(lines[i], -1) {
				text := strings.ReplaceAll(code[1], `\|`, "|") // as a cell of a table has it
				p.Blocks = append(p.Blocks, Block{Line: i + 1, Section: section, Inline: true, Text: text})
			}
			continue
		}
		found := fence.FindStringSubmatch(lines[i])
		if found == nil {
			return p, fmt.Errorf("%s:%d: a fence has ``` and one word: %q", file, i+1, lines[i])
		}
		block := Block{Line: i + 1, Section: section, Language: strings.ToLower(found[2])}
		var text []string
		for i++; i < len(lines) && strings.TrimSpace(lines[i]) != "```"; i++ {
			text = append(text, strings.TrimPrefix(lines[i], found[1]))
		}
		if i == len(lines) {
			return p, fmt.Errorf("%s:%d: the fence has no end", file, block.Line)
		}
		block.Text = strings.Join(text, "\n") + "\n"
		p.Blocks = append(p.Blocks, block)
	}
	return p, nil
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
	programs = regexp.MustCompile(`^(kubectl|oc|velero|restic|make|docker|ctr|kind|go|curl|helm|ssh|rclone)( |$)`)
	typed    = regexp.MustCompile(`^(kubectl|make) `)
	named    = regexp.MustCompile(`^(velero|restic) [a-z]+`)
	partial  = regexp.MustCompile(`^(kubectl|velero) `)
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
