// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package spec

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const repository = "../.."

// reference matches a test on the page, such as
// `test/e2e/retention_delete_test.go: TestDeleteBackup/the other backup can be restored`.
var reference = regexp.MustCompile("`([a-z0-9_/.-]+_test\\.go): (Test[A-Za-z0-9]+)(?:/([^`]+))?`")

// promise is one row of a table on the page.
type promise struct {
	line  int
	cells []string
}

// promises returns the rows of the page's tables.
func promises(page string) []promise {
	var rows []promise
	for number, line := range strings.Split(page, "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "| ---") || strings.HasPrefix(line, "| Promise") {
			continue
		}
		rows = append(rows, promise{line: number + 1, cells: cells})
	}
	return rows
}

// TestPromises fails if a promise has no test, or names a test that does not exist.
func TestPromises(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(repository, "docs", "spec.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := promises(string(page))
	if len(rows) < 80 {
		t.Fatalf("the page has %d promises, want at least 80: the test cannot read its tables", len(rows))
	}
	sources := map[string]string{}
	for _, row := range rows {
		if err := check(row, sources); err != nil {
			t.Errorf("docs/spec.md:%d: %v", row.line, err)
		}
	}
}

func check(row promise, sources map[string]string) error {
	if len(row.cells) != 4 {
		return fmt.Errorf("the row has %d cells, want 4: promise, how it is kept, test, in addition", len(row.cells))
	}
	for i, what := range []string{"promise", "description of how it is kept"} {
		if strings.TrimSpace(row.cells[i]) == "" {
			return fmt.Errorf("the row has no %s", what)
		}
	}
	references := reference.FindAllStringSubmatch(row.cells[2], -1)
	if len(references) == 0 {
		return fmt.Errorf("promise %q names no test", strings.TrimSpace(row.cells[0]))
	}
	for _, found := range references {
		if err := exists(found[1], found[2], found[3], sources); err != nil {
			return err
		}
	}
	return nil
}

// exists fails if a file does not contain a test, or the name of its subtest.
func exists(file, test, subtest string, sources map[string]string) error {
	source, known := sources[file]
	if !known {
		content, err := os.ReadFile(filepath.Join(repository, filepath.FromSlash(file)))
		if err != nil {
			return fmt.Errorf("reading the test file: %w", err)
		}
		source = string(content)
		sources[file] = source
	}
	if !strings.Contains(source, "\nfunc "+test+"(t *testing.T)") {
		return fmt.Errorf("%s has no %s", file, test)
	}
	if subtest != "" && !strings.Contains(source, `"`+subtest) {
		return fmt.Errorf("%s has no subtest %q of %s", file, subtest, test)
	}
	return nil
}

// TestCheck tests that the checks above can fail.
func TestCheck(t *testing.T) {
	good := "`test/spec/spec_test.go: TestCheck/a row`"
	for name, c := range map[string]struct{ row, want string }{
		"a row":             {"| p | how | " + good + " | |", ""},
		"no test":           {"| p | how | by hand | |", "names no test"},
		"no description":    {"| p | | " + good + " | |", "no description"},
		"too few cells":     {"| p | how |", "2 cells"},
		"no such file":      {"| p | how | `nowhere_test.go: TestX` | |", "reading the test file"},
		"no such test":      {"| p | how | `test/spec/spec_test.go: TestNowhere` | |", "no TestNowhere"},
		"no such subtest":   {"| p | how | `test/spec/spec_test.go: TestCheck/no" + "where` | |", "no subtest"},
		"one of two is bad": {"| p | how | " + good + ", `nowhere_test.go: TestX` | |", "reading the test file"},
	} {
		t.Run(name, func(t *testing.T) {
			err := check(promises(c.row)[0], map[string]string{})
			if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
