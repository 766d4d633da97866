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

// terminal prints the demo: steps with the time since its start, and commands with their output.
type terminal struct {
	mutex sync.Mutex
	out   io.Writer
	start time.Time
	// partial is the start of a line whose end Write has not received yet.
	partial []byte
}

func newTerminal(out io.Writer) *terminal { return &terminal{out: out, start: time.Now()} }

// step prints the start of a step.
func (t *terminal) step(format string, args ...any) {
	t.line("\n%5.1fs  %s", t.elapsed().Seconds(), fmt.Sprintf(format, args...))
}

// note prints a detail of the step.
func (t *terminal) note(format string, args ...any) {
	t.line("%5.1fs    %s", t.elapsed().Seconds(), fmt.Sprintf(format, args...))
}

// command prints a command as a user types it.
func (t *terminal) command(args []string) { t.line("\n        $ %s", shellLine(args)) }

// color matches the escape sequences with which velero colors a phase.
var color = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// output prints the output of a command.
func (t *terminal) output(text string, v view) {
	text = strings.TrimRight(color.ReplaceAllString(text, ""), "\n")
	for _, line := range v.apply(strings.Split(text, "\n")) {
		if line != "" {
			line = "        " + line
		}
		t.line("%s", line)
	}
}

// line prints a line without a time.
func (t *terminal) line(format string, args ...any) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	fmt.Fprintf(t.out, format+"\n", args...)
}

func (t *terminal) elapsed() time.Duration { return time.Since(t.start) }

// clusterTime matches the time that the packages of the cluster print before their steps, since their own start.
var clusterTime = regexp.MustCompile(`^ *\d+\.\ds  `)

// Write prints the output of the cluster's packages line by line, with the time of the demo.
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
		t.note("%s", clusterTime.ReplaceAllString(string(line), ""))
	}
}

// view selects the lines of a command's output to print.
type view interface {
	apply(lines []string) []string
}

// allLines prints everything.
type allLines struct{}

func (allLines) apply(lines []string) []string { return lines }

// window prints the first and the last lines.
type window struct{ head, tail int }

func (w window) apply(lines []string) []string {
	skipped := len(lines) - w.head - w.tail
	if skipped <= 1 {
		return lines
	}
	shown := append(slices.Clone(lines[:w.head]), omitted(skipped))
	return append(shown, lines[len(lines)-w.tail:]...)
}

// sections prints the paragraphs of `velero … describe` whose first line starts with one of the words.
type sections []string

func (s sections) apply(lines []string) []string {
	var shown []string
	skipped, keep := 0, false
	for _, line := range lines {
		if line != "" && !strings.HasPrefix(line, " ") {
			keep = slices.ContainsFunc(s, func(word string) bool { return strings.HasPrefix(line, word) })
		}
		switch {
		case !keep || line == "":
			skipped++
		default:
			shown = append(shown, line)
		}
	}
	if skipped == 0 {
		return shown
	}
	return append(shown, omitted(skipped))
}

func omitted(lines int) string { return fmt.Sprintf("… (%d lines omitted)", lines) }

var plain = regexp.MustCompile(`^[A-Za-z0-9_./:=,@%+-]+$`)

// shellLine returns a command with the quotes that a shell needs.
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

// size returns a number of bytes in MiB.
func size(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }
