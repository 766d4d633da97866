// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package board

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// busy is a board with a volume in each phase, 30 seconds after the start.
func busy() (*Board, time.Time) {
	b := New()
	b.SetOperation(Operation{Kind: "backup", Name: "nightly", Phase: "InProgress", Started: start()})
	running := Volume{
		Key: "1", Label: "shop/web-0/data", Phase: resticv1.PhaseInProgress, Total: 150 * mib, Started: start(),
		Deadline: at(4 * 3600),
	}
	for second := 20.0; second <= 30; second += 2 {
		running.Done, running.Heartbeat = int64(second*2*mib), at(second)
		b.Set(at(second), running)
	}
	for _, volume := range []Volume{
		{Key: "2", Label: "shop/web-1/data", Message: "waiting for its turn on the node", Phase: resticv1.PhaseNew},
		{
			Key: "3", Label: "shop/db-0/db", Phase: resticv1.PhaseCompleted, Done: 3 * mib, Total: 3 * mib, Stored: mib,
			Started: start(), Completed: at(5), Warnings: 2,
		},
		{
			Key: "4", Label: "shop/db-1/db", Phase: resticv1.PhaseFailed, Total: 5 * mib,
			Message: "restic was killed, probably because it ran out of memory",
		},
		{Key: "5", Label: "shop/db-1/host", Phase: resticv1.PhaseSkipped, Message: "HostPath: it is a hostPath volume"},
	} {
		b.Set(at(30), volume)
	}
	return b, at(30)
}

func text(lines []Line) string {
	var all []string
	for _, line := range lines {
		all = append(all, strings.TrimRight(line.String(), " "))
	}
	return strings.Join(all, "\n")
}

func TestFrame(t *testing.T) {
	for name, test := range map[string]struct {
		columns, lines int
		want           string
	}{
		"a wide terminal": {120, 20, `
backup nightly  InProgress  30s so far  deadline in 3h59m
5 volumes: 1 done, 1 running, 1 waiting, 1 failed, 1 skipped  2 warnings of volumes  63.0 MiB so far, 2.0 MiB/s
shop/web-0/data  [==============>                       ]  40%   60.0/150.0 MiB   2.0 MiB/s     45s left
shop/db-1/db     Failed  restic was killed, probably because it ran out of memory
shop/web-1/data  waiting for its turn on the node
shop/db-1/host   Skipped  HostPath: it is a hostPath volume
shop/db-0/db     Completed  3.0 MiB in 5s, 1.0 MiB stored, 2 warnings`},
		"the usual terminal": {80, 20, `
backup nightly  InProgress  30s so far  deadline in 3h59m
5 volumes: 1 done, 1 running, 1 waiting, 1 failed, 1 skipped
2 warnings of volumes  63.0 MiB so far, 2.0 MiB/s
shop/web-0/data  [====>         ]  40%   60.0/150.0 MiB   2.0 MiB/s     45s left
shop/db-1/db     Failed  restic was killed, probably because it ran out of me...
shop/web-1/data  waiting for its turn on the node
shop/db-1/host   Skipped  HostPath: it is a hostPath volume
shop/db-0/db     Completed  3.0 MiB in 5s, 1.0 MiB stored, 2 warnings`},
		"a narrow one": {40, 20, `
backup nightly  InProgress  30s so far
deadline in 3h59m
5 volumes: 1 done, 1 running, 1 waiting,
1 failed, 1 skipped
2 warnings of volumes
63.0 MiB so far, 2.0 MiB/s
shop/web-0/data           60.0/150.0 MiB
[==>     ]  40%   2.0 MiB/s     45s left
shop/db-1/db
  Failed  restic was killed, probably...
shop/web-1/data
  waiting for its turn on the node
shop/db-1/host
  Skipped  HostPath: it is a hostPath...
shop/db-0/db
  Completed  3.0 MiB in 5s, 1.0 MiB s...`},
		"no room for every volume": {120, 5, `
backup nightly  InProgress  30s so far  deadline in 3h59m
5 volumes: 1 done, 1 running, 1 waiting, 1 failed, 1 skipped  2 warnings of volumes  63.0 MiB so far, 2.0 MiB/s
shop/web-0/data  [==============>                       ]  40%   60.0/150.0 MiB   2.0 MiB/s     45s left
shop/db-1/db     Failed  restic was killed, probably because it ran out of memory
... and 3 more: 1 done, 1 waiting, 1 skipped`},
		"no room for any": {120, 3, `
backup nightly  InProgress  30s so far  deadline in 3h59m
5 volumes: 1 done, 1 running, 1 waiting, 1 failed, 1 skipped  2 warnings of volumes  63.0 MiB so far, 2.0 MiB/s
... and 5 more: 1 done, 1 running, 1 waiting, 1 failed, 1 skipped`},
		"one line": {30, 1, "\nbackup nightly  InProgress"},
	} {
		t.Run(name, func(t *testing.T) {
			b, now := busy()
			got := "\n" + text(b.Frame(now, test.columns, test.lines))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("frame (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFrameOfPhases(t *testing.T) {
	for name, test := range map[string]struct {
		operation Operation
		volumes   []Volume
		want      string
	}{
		"before there is anything": {
			Operation{Kind: "backup", Name: "b", Phase: "Queued", Detail: "position 2 in Velero's queue"},
			nil,
			"backup b  Queued  position 2 in Velero's queue\n0 volumes",
		},
		"a volume that no agent has seen": {
			Operation{Kind: "backup", Name: "b", Phase: "InProgress"},
			[]Volume{{Key: "1", Label: "a/b/c", Phase: resticv1.PhaseNew, Node: "n1"}},
			"backup b  InProgress\n1 volume: 1 waiting  0 B so far\na/b/c  waiting for the agent on node n1",
		},
		"the bytes are read, and restic is not done": {
			Operation{Kind: "restore", Name: "r", Phase: "WaitingForPluginOperations"},
			[]Volume{{Key: "1", Label: "a/b/c", Phase: resticv1.PhaseInProgress, Done: mib, Total: mib}},
			"restore r  WaitingForPluginOperations\n1 volume: 1 running  1.0/1.0 MiB\n" +
				"a/b/c  [======================================] 100%      1.0/1.0 MiB                finishing",
		},
		"restic has not counted yet": {
			Operation{Kind: "backup", Name: "b", Phase: "InProgress"},
			[]Volume{{Key: "1", Label: "a/b/c", Phase: resticv1.PhaseInProgress}},
			"backup b  InProgress\n1 volume: 1 running  0 B so far\n" +
				"a/b/c  [                                      ]   ?%              0 B",
		},
		"a good end": {
			Operation{
				Kind: "backup", Name: "b", Phase: "Completed", Final: true, Good: true, Started: start(),
				Completed: at(61), Warnings: 1,
			},
			[]Volume{{Key: "1", Label: "a/b/c", Phase: resticv1.PhaseCompleted, Done: 5 * mib, Total: 5 * mib}},
			"backup b  Completed  took 1m01s  0 errors  1 warning\n1 volume: 1 done  5.0 MiB\na/b/c  Completed  5.0 MiB",
		},
		"a bad end": {
			Operation{Kind: "restore", Name: "r", Phase: "Failed", Final: true, Detail: "no such backup", Errors: 1},
			[]Volume{{Key: "1", Label: "a/b/c", Phase: resticv1.PhaseCanceled, Message: "canceled on request"}},
			"restore r  Failed  no such backup  1 error  0 warnings\n1 volume: 1 failed\n" +
				"a/b/c  Canceled  canceled on request",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := New()
			b.SetOperation(test.operation)
			b.Replace(start(), test.volumes)
			if diff := cmp.Diff(test.want, text(b.Frame(at(1), 100, 20))); diff != "" {
				t.Errorf("frame (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzFrame draws thousands of pictures of any size: none may be larger than the terminal.
func FuzzFrame(f *testing.F) {
	f.Add(80, 24, 3, "web", int64(10), int64(20), "waiting")
	f.Add(1, 1, 300, strings.Repeat("long", 60), int64(1<<62), int64(1), "x\x1b[1mx\n")
	f.Add(40, 10, 7, "日本", int64(-4), int64(5), "…")
	phases := []resticv1.VolumePhase{
		"", resticv1.PhaseNew, resticv1.PhaseInProgress, resticv1.PhaseCompleted, resticv1.PhaseFailed,
		resticv1.PhaseCanceled, resticv1.PhaseSkipped,
	}
	f.Fuzz(func(t *testing.T, columns, lines, count int, name string, done, total int64, message string) {
		columns, lines, count = columns%400, lines%200, count%50
		b := New()
		b.SetOperation(Operation{Kind: "backup", Name: name, Phase: message, Detail: message, Started: start()})
		for i := range count {
			volume := Volume{
				Key: fmt.Sprint(i), Label: label(name, name, fmt.Sprint(i)), Phase: phases[i%len(phases)],
				Total: total, Message: message, Started: start(), Deadline: at(1e6),
			}
			for step := range int64(3) {
				volume.Done = done / 3 * step
				b.Set(at(float64(step*5)), volume)
			}
		}
		frame := b.Frame(at(15), columns, lines)
		if len(frame) > max(lines, 1) {
			t.Errorf("%d lines on a terminal of %d", len(frame), lines)
		}
		for _, line := range frame {
			if line.Width() > max(columns, 1) {
				t.Errorf("%q is wider than %d", line, columns)
			}
			if strings.ContainsFunc(line.String(), unicode.IsControl) {
				t.Errorf("%q has a control character", line)
			}
		}
		b.Table(at(15))
		NewJournal().Progress(b, at(15))
	})
}
