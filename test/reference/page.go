// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package reference writes the pages of docs/reference from the code, and tests that they are current.
package reference

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// updateVariable makes Check write the pages instead of comparing them. The Makefile's target generate sets it.
const updateVariable = "UPDATE_REFERENCE"

// Check fails the test if a page of docs/reference differs from its content. The page's name has no directory.
func Check(t *testing.T, page, content string) {
	t.Helper()
	path := filepath.Join(Repository(t), "docs", "reference", page)
	if os.Getenv(updateVariable) != "" {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		//nolint:gosec // everyone may read a page
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	current, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(current) != content {
		t.Errorf("docs/reference/%s does not match the code: run `make generate` and commit the page", page)
	}
}

// Repository returns the root directory of the repository.
func Repository(t *testing.T) string {
	t.Helper()
	_, file, _, found := runtime.Caller(0)
	if !found {
		t.Fatal("the path of this file is unknown")
	}
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// header returns the beginning of a page that is generated from these sources, which are paths in the repository.
func header(title, sources, intro string) string {
	return "<!-- Generated from " + sources + " by make generate. Do not edit: change the texts there. -->\n" +
		"# " + title + "\n\n" + intro + "\n"
}

// table returns a table, with an empty line before it. Line breaks in cells become spaces.
func table(head []string, rows [][]string) string {
	var out strings.Builder
	write := func(cells []string) {
		for _, cell := range cells {
			cell = strings.Join(strings.Fields(cell), " ")
			out.WriteString("|")
			if cell != "" {
				out.WriteString(" " + strings.ReplaceAll(cell, "|", `\|`))
			}
			out.WriteString(" ")
		}
		out.WriteString("|\n")
	}
	out.WriteString("\n")
	write(head)
	write(strings.Split(strings.Repeat("---,", len(head)-1)+"---", ","))
	for _, row := range rows {
		write(row)
	}
	return out.String()
}

// code marks a text as code; an empty one stays empty.
func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

// sentence returns a text with a capital first letter and a full stop.
func sentence(text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	text = strings.ToUpper(text[:1]) + text[1:]
	if strings.HasSuffix(text, ".") {
		return text
	}
	return text + "."
}
