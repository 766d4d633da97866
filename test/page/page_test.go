// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package page

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const sample = "# Title\n" +
	"Type `kubectl\nget pods`, or `a \\| b`.\n" +
	"## Steps\n" +
	"1. First:\n" +
	"   ```bash\n" +
	"   echo one \\\n" +
	"     two\n" +
	"   ```\n" +
	"```console\n$ make demo   # look\n  8s  made\n        $ not this\n```\n" +
	"```\ndrawing\n```\n"

func TestParse(t *testing.T) {
	got, err := Parse("docs/sample.md", sample)
	if err != nil {
		t.Fatal(err)
	}
	want := Page{File: "docs/sample.md", Blocks: []Block{
		{Line: 2, Section: "Title", Inline: true, Text: "kubectl get pods"},
		{Line: 3, Section: "Title", Inline: true, Text: "a | b"},
		{Line: 6, Section: "Steps", Language: "bash", Text: "echo one \\\n  two\n"},
		{Line: 10, Section: "Steps", Language: "console", Text: "$ make demo   # look\n  8s  made\n        $ not this\n"},
		{Line: 15, Section: "Steps", Text: "drawing\n"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if script := got.Blocks[3].script(); script != "make demo   # look\n" {
		t.Errorf("the transcript's script is %q", script)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, content := range map[string]string{
		"a fence without an end":       "```bash\nls\n",
		"a fence with more than words": "```bash {.numbers}\nls\n```\n",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Parse("x.md", content); err == nil {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestAction(t *testing.T) {
	for name, c := range map[string]struct {
		block   Block
		want    action
		refused bool
	}{
		"commands":                           {block: Block{Language: "bash", Text: "ls\n"}, want: actionRun},
		"a transcript":                       {block: Block{Language: "console", Text: "$ ls\n"}, want: actionRun},
		"a manifest":                         {block: Block{Language: "yaml"}, want: actionApply},
		"JSON":                               {block: Block{Language: "json"}, want: actionDecode},
		"a drawing":                          {block: Block{Text: "a -> b\n"}, want: actionNone},
		"a command without a language":       {block: Block{Text: "kubectl get pods\n"}, refused: true},
		"a prompt without bash":              {block: Block{Language: "text", Text: "$ velero get\n"}, refused: true},
		"an unknown language":                {block: Block{Language: "cobol"}, refused: true},
		"a command within a line":            {block: Block{Inline: true, Text: "kubectl get pods"}, want: actionRun},
		"a part of a command within a line":  {block: Block{Inline: true, Text: "velero backup create … --wait"}, want: actionLookUp},
		"the name of a command in a line":    {block: Block{Inline: true, Text: "velero backup logs"}, want: actionLookUp},
		"a name within a line":               {block: Block{Inline: true, Text: "velero"}, want: actionNone},
		"a message that begins as a command": {block: Block{Inline: true, Text: "restic was killed …"}, want: actionNone},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.block.action()
			if got != c.want || (err != nil) != c.refused {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestReplaceAll(t *testing.T) {
	replace := map[string]string{"NAME": "a", "YOUR_NAME": "NAME", "<ns>": "b", "AME": "c"}
	if got := replaceAll("NAME YOUR_NAME RENAME <ns> NAME,", replace); got != "a NAME RENAME b a," {
		t.Errorf("got %q", got)
	}
}

func TestEvaluate(t *testing.T) {
	before := "Backup/old PartiallyFailed\n"
	listed := before + "Backup/a Completed\nBackup/b InProgress\nRestore/c FinalizingPartiallyFailed\nRestore/d Failed\nBackup/e \n"
	running, failed := evaluate(listed, before)
	if diff := cmp.Diff([]string{"Backup/b InProgress", "Restore/c FinalizingPartiallyFailed", "Backup/e "}, running); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Restore/d Failed"}, failed); diff != "" {
		t.Error(diff)
	}
}

// repositoryWith creates a repository with one page.
func repositoryWith(t *testing.T, content string) string {
	t.Helper()
	folder := t.TempDir()
	for path, text := range map[string]string{"examples/one": "first", "docs/x.md": content} {
		file := filepath.Join(folder, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestWalk(t *testing.T) {
	block := func(script string) string { return "# A\n```bash\n" + script + "\n```\n" }
	for name, c := range map[string]struct {
		page  string
		guide Guide
		until string
		want  string
	}{
		"commands that succeed": {page: block("cat examples/one")},
		"variables and files of an earlier block": {
			page: block("export WORD=hello; echo two > file") + block(`[ "$WORD" = hello ]; cat file`),
		},
		"a command that fails":           {page: block("true") + block("false; true"), want: "docs/x.md:6: "},
		"a command that fails in a pipe": {page: block("false | cat"), want: "docs/x.md:2: "},
		"a variable without a value":     {page: block("echo $WORD"), want: "docs/x.md:2: "},
		"a word in capitals": {
			page: block("echo NAME-NAME"), guide: Guide{
				Replace: map[string]string{"NAME": "$(cat examples/one)"},
				Checks:  []Check{{Block: "echo NAME", Output: []string{"first-first"}}},
			},
		},
		"an expected output": {
			page: block("cat examples/one"), guide: Guide{Checks: []Check{{Block: "cat", Output: []string{"second"}}}},
			want: `does not contain "second"`,
		},
		"an expected output of the check": {
			page:  block("cat examples/one"),
			guide: Guide{Checks: []Check{{Block: "cat", Script: "echo three", ScriptOutput: []string{"four"}}}},
			want:  `does not contain "four"`,
		},
		"a block that is skipped": {page: block("false"), guide: Guide{Skips: []Skip{{Block: "false", Reason: "it fails"}}}},
		"a block that is missing": {page: block("true"), guide: Guide{Skips: []Skip{{Block: "no"}}}, want: "does not have"},
		"some blocks of a section": {
			page: block("echo one") + block("false"), guide: Guide{Only: &Only{Section: "A", Block: "one"}},
		},
		"a section that is missing":    {page: block("true"), guide: Guide{Only: &Only{Section: "B"}}, want: "no block contains"},
		"a preparation that fails":     {page: block("true"), guide: Guide{Before: "echo no; false"}, want: "preparing"},
		"a section to stop at":         {page: block("true") + "## B\n```bash\nfalse\n```\n", until: "B"},
		"a missing section to stop at": {page: block("true"), until: "B", want: "has no section"},
		"bad JSON":                     {page: "```json\n{} {}\n```\n", want: "docs/x.md:1: "},
		"bad YAML":                     {page: "```yaml\na: 1\na: 2\n```\n", want: "docs/x.md:1: "},
		"a bad volume policy":          {page: "```yaml\nversion: v1\nvolumePolicies: [{nonsense: 1}]\n```\n", want: "docs/x.md:1: "},
		"a piece of YAML":              {page: "```yaml\nhostPath:\n  path: /x\n```\n"},
	} {
		t.Run(name, func(t *testing.T) {
			workspace, err := NewWorkspace(WorkspaceOptions{Repository: repositoryWith(t, c.page), Folder: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			c.guide.File = "docs/x.md"
			err = workspace.Follow(t.Context(), c.guide, c.until, io.Discard)
			if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestPages reads every page of this repository. It fails if a block is of an unknown kind, or if a guide is for a page
// that does not exist. test/integration and test/e2e follow the pages.
func TestPages(t *testing.T) {
	repository := filepath.Join("..", "..")
	files, err := Files(repository)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, file := range files {
		known[file] = true
		got, err := Read(repository, file)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range got.Blocks {
			if _, err := block.action(); err != nil {
				t.Errorf("%s:%d: %v", file, block.Line, err)
			}
		}
	}
	for _, guide := range Guides() {
		if !known[guide.File] {
			t.Errorf("the page %s of a guide does not exist", guide.File)
		}
		for _, skip := range guide.Skips {
			if len(skip.Reason) < 10 {
				t.Errorf("%s: skipping %q has no reason", guide.File, skip.Block)
			}
		}
	}
}
