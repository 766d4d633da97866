// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const description = `Name:  b
Namespace:  velero

Phase:  Completed

Warnings:
  Velero:  <none>

  Cluster:  <none>
TTL:  720h0m0s
`

func TestView(t *testing.T) {
	tests := map[string]struct {
		view view
		want string
	}{
		"everything": {allLines{}, description},
		"a window omits the middle and counts the lines": {
			window{1, 1}, "Name:  b\n… (8 lines omitted)\nTTL:  720h0m0s\n",
		},
		"a window that would omit one line prints it": {window{5, 4}, description},
		"sections keep their indented lines": {
			sections{"Phase:", "Warnings:"},
			"Phase:  Completed\nWarnings:\n  Velero:  <none>\n  Cluster:  <none>\n… (6 lines omitted)\n",
		},
		"a missing section": {sections{"Errors:"}, "… (10 lines omitted)\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := test.view.apply(strings.Split(strings.TrimSuffix(description, "\n"), "\n"))
			if diff := cmp.Diff(test.want, strings.Join(got, "\n")+"\n"); diff != "" {
				t.Errorf("shown lines differ (-want +got):\n%s", diff)
			}
		})
	}
}

func TestShellLine(t *testing.T) {
	tests := map[string]struct {
		args []string
		want string
	}{
		"plain words":                     {[]string{"velero", "backup", "create", "b-1"}, "velero backup create b-1"},
		"a value of a key":                {[]string{"-l", "velero.io/backup-name=b"}, "-l velero.io/backup-name=b"},
		"spaces":                          {[]string{"sh", "-c", "echo a"}, "sh -c 'echo a'"},
		"quotes":                          {[]string{"it's"}, `'it'\''s'`},
		"nothing":                         {[]string{"a", ""}, "a ''"},
		"characters that a shell expands": {[]string{"$HOME", "a*", "{b}"}, "'$HOME' 'a*' '{b}'"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := shellLine(test.args); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestTerminal(t *testing.T) {
	var out bytes.Buffer
	printed := newTerminal(&out)
	for _, piece := range []string{"   3.2s  load", "ed a.tar\n$ kubectl get pods\nno", " time\nunfinished"} {
		if n, err := printed.Write([]byte(piece)); err != nil || n != len(piece) {
			t.Fatalf("writing %q: %d, %v", piece, n, err)
		}
	}
	printed.output("Phase:  \x1b[32mCompleted\x1b[0m\n\n", allLines{})
	// The terminal replaces the time of the packages with its own.
	got := regexp.MustCompile(`(?m)^ *\d+\.\ds`).ReplaceAllString(out.String(), "TIME")
	want := "TIME    loaded a.tar\n        $ kubectl get pods\nTIME    no time\n        Phase:  Completed\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("printed text differs (-want +got):\n%s", diff)
	}
}
