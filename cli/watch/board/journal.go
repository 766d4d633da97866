// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package board

import (
	"fmt"
	"strings"
	"time"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/display"
)

// maxProgress is how many running volumes one report of progress names.
const maxProgress = 10

// Journal tells in plain lines what has changed since it was last asked.
type Journal struct {
	operation string
	phases    map[string]resticv1.VolumePhase
	waits     map[string]string
}

// NewJournal returns one that has told nothing yet.
func NewJournal() *Journal {
	return &Journal{phases: map[string]resticv1.VolumePhase{}, waits: map[string]string{}}
}

// Changes returns a line for each phase that is new, that of the operation first and a final one last.
func (j *Journal) Changes(b *Board) []string {
	var lines []string
	o := b.operation
	state := o.Phase
	if o.Detail != "" {
		state += ": " + o.Detail
	}
	changed := state != j.operation
	j.operation = state
	if changed && !o.Final {
		lines = append(lines, o.Kind+" "+display.Line(o.Name)+": "+display.Line(state))
	}
	for _, r := range b.byLabel() {
		if j.phases[r.Key] == r.Phase {
			continue
		}
		j.phases[r.Key] = r.Phase
		lines = append(lines, display.Line(r.Label)+": "+phaseText(r))
		j.waits[r.Key] = r.Message
	}
	if changed && o.Final {
		lines = append(lines, j.ending(b))
	}
	return lines
}

func (j *Journal) ending(b *Board) string {
	o := b.operation
	text := o.Kind + " " + display.Line(o.Name) + ": " + display.Line(j.operation)
	if !o.Started.IsZero() && !o.Completed.IsZero() {
		text += " after " + durationText(o.Completed.Sub(o.Started))
	}
	return fmt.Sprintf("%s, %s, %s", text, plural(o.Errors, "error"), plural(o.Warnings, "warning"))
}

// Progress returns how far everything is, and what waits for something else than before. It is meant to be asked
// every few seconds.
func (j *Journal) Progress(b *Board, now time.Time) []string {
	var lines []string
	running := 0
	for _, r := range b.byLabel() {
		switch {
		case r.Phase == resticv1.PhaseNew && j.waits[r.Key] != r.Message:
			j.waits[r.Key] = r.Message
			lines = append(lines, display.Line(r.Label)+": "+waitingText(&r.Volume))
		case r.Phase == resticv1.PhaseInProgress:
			if running++; running <= maxProgress {
				lines = append(lines, display.Line(r.Label)+": "+progressText(r, now))
			}
		}
	}
	if running > maxProgress {
		lines = append(lines, fmt.Sprintf("... and %d more at work", running-maxProgress))
	}
	if len(b.rows) == 0 {
		return nil
	}
	return append(lines, b.Sum(now))
}

// Sum says on one line what all volumes come to.
func (b *Board) Sum(now time.Time) string {
	var parts []string
	for _, piece := range b.sums(now).pieces() {
		if piece != nil {
			parts = append(parts, piece.String())
		}
	}
	return strings.Join(parts, "; ")
}

// Table returns everything as it stands, a line for each volume, by label and however long.
func (b *Board) Table(now time.Time) []Line {
	lines := wrap(b.heading(now), unlimited)
	rows := b.byLabel()
	longest := 0
	for _, r := range rows {
		longest = max(longest, width(display.Line(r.Label)))
	}
	for _, r := range rows {
		line := Line{{padRight(display.Line(r.Label), longest) + "  ", Plain}}
		if r.Phase == resticv1.PhaseInProgress {
			lines = append(lines, append(line, Span{"InProgress  " + progressText(r, now), Plain}))
			continue
		}
		lines = append(lines, append(line, stateText(r)...))
	}
	return lines
}

// unlimited is a width that no line reaches.
const unlimited = 1 << 20

func (b *Board) byLabel() []*row { return b.sorted(func(*row, *row) int { return 0 }) }

// phaseText says in words that a volume has come to its phase.
func phaseText(r *row) string {
	if r.Phase != resticv1.PhaseInProgress {
		return strings.Replace(Line(stateText(r)).String(), "  ", ": ", 1)
	}
	if r.Node != "" {
		return "InProgress on node " + r.Node
	}
	return "InProgress"
}

// progressText is a bar in words.
func progressText(r *row, now time.Time) string {
	l := layout{now: now}
	parts := []string{fmt.Sprintf("%d%%", percent(r.Done, r.Total)), display.Ratio(r.Done, r.Total)}
	switch {
	case r.Total == 0 && r.Done == 0:
		parts = []string{"not counted yet"}
	case r.Total == 0:
		parts = parts[1:]
	}
	for _, part := range []string{l.rateOf(r), l.leftOf(r)} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ", ")
}
