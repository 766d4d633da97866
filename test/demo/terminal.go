// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// terminal prints the demo: steps with the time since its start, commands with what they said.
type terminal struct {
	mutex sync.Mutex
	out   io.Writer
	start time.Time
	// partial is the beginning of a line that Write has not seen the end of.
	partial []byte
}

func newTerminal(out io.Writer) *terminal { return &terminal{out: out, start: time.Now()} }

// step begins a part of the demo.
func (t *terminal) step(format string, args ...any) {
	t.line("\n%5.1fs  %s", t.elapsed().Seconds(), fmt.Sprintf(format, args...))
}

// note tells a detail of the step.
func (t *terminal) note(format string, args ...any) {
	t.line("%5.1fs    %s", t.elapsed().Seconds(), fmt.Sprintf(format, args...))
}

// command shows what a user would type.
func (t *terminal) command(args []string) { t.line("\n        $ %s", shellLine(args)) }

// color is what velero puts around a phase, for terminals.
var color = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// output shows what a command said.
func (t *terminal) output(text string, v view) {
	text = strings.TrimRight(color.ReplaceAllString(text, ""), "\n")
	for _, line := range v.apply(strings.Split(text, "\n")) {
		if line != "" {
			line = "        " + line
		}
		t.line("%s", line)
	}
}

// line prints as it is.
func (t *terminal) line(format string, args ...any) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	fmt.Fprintf(t.out, format+"\n", args...)
}

func (t *terminal) elapsed() time.Duration { return time.Since(t.start) }

// ownTime is the time that the cluster's packages put before their steps, counted from their own beginning.
var ownTime = regexp.MustCompile(`^ *\d+\.\ds  `)

// Write takes what the cluster's packages tell, line by line, and gives it the demo's time.
func (t *terminal) Write(text []byte) (int, error) {
	t.partial = append(t.partial, text...)
	for {
		line, rest, complete := bytes.Cut(t.partial, []byte("\n"))
		if !complete {
			return len(text), nil
		}
		t.partial = rest
		if command, found := bytes.CutPrefix(line, []byte("$ ")); found {
			t.line("        $ %s", command)
			continue
		}
		t.note("%s", ownTime.ReplaceAllString(string(line), ""))
	}
}

// view chooses what of a command's output is shown.
type view interface {
	apply(lines []string) []string
}

// whole shows everything.
type whole struct{}

func (whole) apply(lines []string) []string { return lines }

// window shows lines from the beginning and from the end.
type window struct{ head, tail int }

func (w window) apply(lines []string) []string {
	left := len(lines) - w.head - w.tail
	if left <= 1 {
		return lines
	}
	shown := append(slices.Clone(lines[:w.head]), leftOut(left))
	return append(shown, lines[len(lines)-w.tail:]...)
}

// sections shows those paragraphs of `velero … describe` whose first line begins with one of the words.
type sections []string

func (s sections) apply(lines []string) []string {
	var shown []string
	left, keep := 0, false
	for _, line := range lines {
		if line != "" && !strings.HasPrefix(line, " ") {
			keep = slices.ContainsFunc(s, func(word string) bool { return strings.HasPrefix(line, word) })
		}
		switch {
		case !keep || line == "":
			left++
		default:
			shown = append(shown, line)
		}
	}
	if left == 0 {
		return shown
	}
	return append(shown, leftOut(left))
}

func leftOut(lines int) string { return fmt.Sprintf("… (%d lines left out)", lines) }

var plain = regexp.MustCompile(`^[A-Za-z0-9_./:=,@%+-]+$`)

// shellLine writes a command as a shell reads it.
func shellLine(args []string) string {
	quoted := make([]string, 0, len(args))
	for _, arg := range args {
		if !plain.MatchString(arg) {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		quoted = append(quoted, arg)
	}
	return strings.Join(quoted, " ")
}

// size writes a number of bytes for people.
func size(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }
