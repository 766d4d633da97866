// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package board

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

func TestJournal(t *testing.T) {
	b, j := New(), NewJournal()
	operation := Operation{Kind: "backup", Name: "nightly", Phase: "InProgress", Started: start()}
	b.SetOperation(operation)
	want := func(what string, got []string, lines ...string) {
		t.Helper()
		if diff := cmp.Diff(lines, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	want("the beginning", j.Changes(b), "backup nightly: InProgress")
	want("no change", j.Changes(b))

	volume := Volume{Key: "1", Label: "foo/web/data", Phase: resticv1.PhaseNew, Node: "n1"}
	b.Set(at(1), volume)
	want("a volume", j.Changes(b), "foo/web/data: waiting for the agent on node n1")
	volume.Message = "waiting for its turn on the node"
	b.Set(at(2), volume)
	want("another reason to wait is no phase", j.Changes(b))
	want("it comes with the progress", j.Progress(b, at(2)), "foo/web/data: waiting for its turn on the node",
		"1 volume: 1 waiting; 0 B so far")
	want("and only once", j.Progress(b, at(2)), "1 volume: 1 waiting; 0 B so far")

	volume.Phase, volume.Message, volume.Total = resticv1.PhaseInProgress, "", 100*mib
	for second := range int64(6) {
		volume.Done = second * 10 * mib
		b.Set(at(float64(second+3)), volume)
	}
	want("it begins", j.Changes(b), "foo/web/data: InProgress on node n1")
	want("progress", j.Progress(b, at(8)), "foo/web/data: 50%, 50.0/100.0 MiB, 10.0 MiB/s, 5s left",
		"1 volume: 1 running; 50.0/100.0 MiB, 10.0 MiB/s, 5s left")

	volume.Phase, volume.Done, volume.Warnings = resticv1.PhaseCompleted, 100*mib, 1
	volume.Started, volume.Completed = at(3), at(13)
	b.Set(at(13), volume)
	operation.Phase, operation.Final, operation.Good, operation.Completed = "Completed", true, true, at(14)
	b.SetOperation(operation)
	want("the end", j.Changes(b), "foo/web/data: Completed: 100.0 MiB in 10s, 1 warning",
		"backup nightly: Completed after 14s, 0 errors, 0 warnings")
	if !b.Well() {
		t.Error("the board does not say that all went well")
	}
	want("the table", strings.Split(text(b.Table(at(14))), "\n"),
		"backup nightly  Completed  took 14s  0 errors  0 warnings", "1 volume: 1 done  1 warning of volumes  100.0 MiB",
		"foo/web/data  Completed  100.0 MiB in 10s, 1 warning")
}

func TestJournalOfMany(t *testing.T) {
	b := New()
	for i := range 12 {
		b.Set(start(), Volume{Key: string(rune('a' + i)), Label: "x", Phase: resticv1.PhaseInProgress, Done: 1, Total: 2})
	}
	lines := NewJournal().Progress(b, start())
	if len(lines) != maxProgress+2 || lines[maxProgress] != "... and 2 more at work" {
		t.Errorf("progress of twelve volumes: %q", lines)
	}
}

func TestWell(t *testing.T) {
	for name, test := range map[string]struct {
		operation Operation
		phase     resticv1.VolumePhase
		want      bool
	}{
		"still running":                      {Operation{}, resticv1.PhaseInProgress, true},
		"completed":                          {Operation{Final: true, Good: true}, resticv1.PhaseCompleted, true},
		"completed, with a skipped volume":   {Operation{Final: true, Good: true}, resticv1.PhaseSkipped, true},
		"completed, and yet a volume failed": {Operation{Final: true, Good: true}, resticv1.PhaseFailed, false},
		"a canceled volume":                  {Operation{}, resticv1.PhaseCanceled, false},
		"partially failed":                   {Operation{Final: true}, resticv1.PhaseCompleted, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := New()
			b.SetOperation(test.operation)
			b.Set(start(), Volume{Key: "1", Phase: test.phase})
			if got := b.Well(); got != test.want {
				t.Errorf("Well() = %t, want %t", got, test.want)
			}
		})
	}
}

func TestReplaceForgets(t *testing.T) {
	b := New()
	b.Replace(start(), []Volume{{Key: "1", Label: "one"}, {Key: "2", Label: "two"}})
	b.Replace(start(), []Volume{{Key: "2", Label: "two"}})
	b.Replace(start(), []Volume{{Key: "3", Label: "three"}})
	if rows := b.byLabel(); len(rows) != 1 || rows[0].Label != "three" {
		t.Errorf("the board has %d rows, the first is %+v", len(rows), rows)
	}
}
