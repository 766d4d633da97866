// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Mutant is one small change to the product that a test must notice.
type Mutant struct {
	// Name says in a few words what the change breaks.
	Name string
	// File is the changed file, relative to the root of the repository.
	File string
	// Line is the code to change: a line, a part of one, or a few lines. The file must contain it exactly once.
	Line string
	// Change replaces Line.
	Change string
	// Test holds the arguments of `go test` that select the tests which must fail: a package, and usually -run.
	Test []string
}

// apply returns the content of the mutant's file after the change.
func (m Mutant) apply(root string) ([]byte, error) {
	content, err := os.ReadFile(filepath.Join(root, m.File))
	if err != nil {
		return nil, fmt.Errorf("reading the file to change: %w", err)
	}
	if m.Line == m.Change {
		return nil, fmt.Errorf("%s: the change of %q changes nothing", m.File, m.Line)
	}
	if n := strings.Count(string(content), m.Line); n != 1 {
		return nil, fmt.Errorf("%s contains %q %d times, want once: correct the table in test/mutation",
			m.File, m.Line, n)
	}
	return []byte(strings.Replace(string(content), m.Line, m.Change, 1)), nil
}
