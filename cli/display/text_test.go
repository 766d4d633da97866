// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package display_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/velero-restic/velero-plugin-for-restic/cli/display"
)

func TestLine(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		// cspell:ignore größe
		"nothing to replace": {"größe 日本 …", "größe 日本 …"},
		// A file name may contain characters that move the cursor, change the text direction, or start a line.
		"C0, a line break, a direction mark": {"a\x1b[2Jb\nc\u202ed\x00", "a?[2Jb c?d?"},
		"DEL":                                {"a\x7fb", "a?b"},
		"C1, as two bytes":                   {"a\u009b2Jb", "a?2Jb"},
		"C1, as one byte":                    {"a\x9b2Jb", "a\ufffd2Jb"},
		"all line breaks":                    {"a\r\nb\vc\u0085d\u2028e\tf", "a  b c d e f"},
		"a carriage return":                  {"good\rbad", "good bad"},
	} {
		if got := display.Line(test.text); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\x1b]0;title\a\nb")
	f.Fuzz(func(t *testing.T, text string) {
		line := display.Line(text)
		if strings.ContainsFunc(line, unicode.IsControl) {
			t.Errorf("%q contains a control character", line)
		}
		if again := display.Line(line); again != line {
			t.Errorf("%q becomes %q the second time", line, again)
		}
	})
}
