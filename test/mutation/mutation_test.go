// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTableMatchesTheSource fails when the code that a mutant changes was rewritten or moved. It runs no mutant.
func TestTableMatchesTheSource(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range mutants() {
		if _, err := m.apply("../.."); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
		if key := m.File + m.Line + m.Change; seen[key] || m.Name == "" {
			t.Errorf("%s: %q: the entry has no name, or is in the table twice", m.File, m.Line)
		} else {
			seen[key] = true
		}
		if len(m.Test) == 0 || !strings.HasPrefix(m.Test[0], "./") {
			t.Errorf("%s: %s: the tests are %q: begin with the package, as ./path", m.File, m.Name, m.Test)
			continue
		}
		if tests, err := filepath.Glob(filepath.Join("../..", m.Test[0], "*_test.go")); err != nil || len(tests) == 0 {
			t.Errorf("%s: %s: package %s has no tests (%v)", m.File, m.Name, m.Test[0], err)
		}
	}
}

// sum and its test are the product that TestTry changes.
const (
	sum = `package sum

func Sum(numbers []int) int {
	total := 0
	for i := 0; i < len(numbers); i++ {
		total += numbers[i]
	}
	return total
}

func Unused() int { return 1 }
`
	sumTest = `package sum

import "testing"

func TestSum(t *testing.T) {
	if got := Sum([]int{1, 2}); got != 3 {
		t.Errorf("got %d", got)
	}
}

func TestBroken(t *testing.T) { t.Fatal("fails anyway") }
`
)

func TestTry(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": "module example.com/sum\n\ngo 1.24\n", "sum.go": sum, "sum_test.go": sumTest,
	} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := []string{".", "-run=TestSum"}
	cases := map[string]struct {
		line, change string
		test         []string
		killer, err  string
	}{
		"a test fails":                {line: "+=", change: "-=", test: good, killer: "TestSum"},
		"a test panics":               {line: "i < len", change: "i <= len", test: good, killer: "TestSum"},
		"no test looks":               {line: "return 1", change: "return 2", test: good, err: "SURVIVED"},
		"the change does not compile": {line: "total := 0", change: "", test: good, err: "does not compile"},
		"the change hangs the test":   {line: "; i++", change: "; i *= 1", test: good, err: "did not end within 2s"},
		"the code is gone":            {line: "return 3", change: "return 4", test: good, err: "0 times, want once"},
		"the code is there twice":     {line: "total", change: "x", test: good, err: "3 times, want once"},
		"the change changes nothing":  {line: "+=", change: "+=", test: good, err: "changes nothing"},
		"the test fails anyway":       {line: "+=", change: "-=", test: []string{"."}, err: "without any change"},
		"the selection matches no test": {
			line: "+=", change: "-=", test: []string{".", "-run=TestNone"}, err: "runs no test",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			m := Mutant{Name: name, File: "sum.go", Line: c.line, Change: c.change, Test: c.test}
			b := bench{root: root, timeout: 2 * time.Second}
			err := newBaseline(b).check(t.Context(), m.Test)
			var killers []string
			if err == nil {
				killers, err = b.try(t.Context(), m)
			}
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("the error is %v, want %q", err, c.err)
			}
			if got := strings.Join(killers, ","); got != c.killer {
				t.Errorf("killed by %q, want %q", got, c.killer)
			}
		})
	}
	if content, err := os.ReadFile(filepath.Join(root, "sum.go")); err != nil || string(content) != sum {
		t.Errorf("the source was changed: %v\n%s", err, content)
	}
}
