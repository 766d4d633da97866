// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package snapshotlist_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/velero-restic/velero-plugin-for-restic/internal/snapshotlist"
)

// made returns so many snapshots of volumes with names as long as people give, the newest first.
func made(count int) []snapshotlist.Snapshot {
	newest := time.Date(2026, 11, 22, 23, 30, 15, 123456789, time.FixedZone("", 3600))
	list := make([]snapshotlist.Snapshot, count)
	for i := range list {
		list[i] = snapshotlist.Snapshot{
			ID: fmt.Sprintf("%064x", 1<<40+i), Time: newest.Add(-time.Duration(i) * time.Hour), Hostname: "velero",
			Backup: "nightly-of-all-namespaces-20261122233000", BackupUID: "0e5ff7c2-6c7b-4f43-9a57-0a4f3d0b8f11",
			Namespace: "customer-relations-production", Pod: "postgresql-primary-7d5f8c9b64-x7k2p",
			PodUID: "5d1b6a6e-4a8f-4f0e-9d7e-2b8d3f3a9c55", Volume: "postgresql-data",
			PVC: "data-postgresql-primary-0", PVCUID: "c0a9e7d4-1f2b-4c3d-8e5f-6a7b8c9d0e1f",
			Cluster: "9f8e7d6c-5b4a-4938-8271-605f4e3d2c1b",
			Paths: []string{"/host_pods/5d1b6a6e-4a8f-4f0e-9d7e-2b8d3f3a9c55/volumes/kubernetes.io~csi/" +
				"pvc-c0a9e7d4-1f2b-4c3d-8e5f-6a7b8c9d0e1f/mount"},
			Size: &snapshotlist.Size{Files: 123456, Bytes: 123456789012, BytesAdded: 1234567890, BytesStored: 987654321},
		}
	}
	return list
}

func written(t *testing.T, list []snapshotlist.Snapshot, unreadable int) string {
	t.Helper()
	var log bytes.Buffer
	if _, err := snapshotlist.Write(&log, list, unreadable); err != nil {
		t.Fatal(err)
	}
	return log.String()
}

func TestReadWhatWasWritten(t *testing.T) {
	foreign := snapshotlist.Snapshot{
		ID: strings.Repeat("f", 64), Time: time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC), Hostname: "laptop",
		Paths: []string{"/home/ann\nnotes", "/\u2028\"etc"}, Tags: []string{"mine", `a="b"`},
	}
	cases := map[string]struct {
		list []snapshotlist.Snapshot
		// around changes the log.
		around func(log string) string
	}{
		"no snapshot at all":          {},
		"one":                         {list: made(1)},
		"a person's own":              {list: []snapshotlist.Snapshot{foreign}},
		"several, and a person's own": {list: append(made(3), foreign)},
		"between the lines of a log": {list: made(3), around: func(log string) string {
			const noise = "2026-11-22T23:30:15Z\tINFO\tOpening\t{\"repository\": \"shop\"}\n" +
				`{"level":"info","msg":"in JSON","count":3}` + "\n{not JSON}\n\n" +
				`{"message_type":"status","count":7}` + "\n"
			return noise + strings.ReplaceAll(log, "\n", "\n"+noise)
		}},
		"without an end of its last line": {list: made(2), around: func(log string) string {
			return strings.TrimSuffix(log, "\n")
		}},
		"with the line ends of another system": {list: made(2), around: func(log string) string {
			return strings.ReplaceAll(log, "\n", "\r\n")
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			log := written(t, c.list, 0)
			if c.around != nil {
				log = c.around(log)
			}
			got, err := snapshotlist.Read(strings.NewReader(log))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.list, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWriteSortsTheNewestFirst(t *testing.T) {
	list := made(3)
	got, err := snapshotlist.Read(strings.NewReader(written(t,
		[]snapshotlist.Snapshot{list[1], list[2], list[0]}, 0)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(list, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadTakesNoPartForTheWhole(t *testing.T) {
	log := written(t, made(5), 0)
	lines := strings.SplitAfter(log, "\n")
	cases := map[string]string{
		"nothing":                     "",
		"only the agent's own log":    "2026-11-22T23:30:15Z\tINFO\tStarting\n",
		"no end":                      strings.Join(lines[:5], ""),
		"an end that was cut":         strings.TrimSuffix(log, "}\n"),
		"no beginning":                strings.Join(lines[2:], ""),
		"a line in the middle broken": strings.Replace(log, lines[2], lines[2][:100]+"\n", 1),
		"a line in the middle lost":   strings.Replace(log, lines[2], "", 1),
	}
	for name, log := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := snapshotlist.Read(strings.NewReader(log))
			if !errors.Is(err, snapshotlist.ErrCut) || got != nil {
				t.Errorf("got %d snapshots, %v", len(got), err)
			}
		})
	}
}

// TestTenThousandFitIntoALog is what MaxList is for: so many snapshots of volumes come through whole.
func TestTenThousandFitIntoALog(t *testing.T) {
	const count = 10_000
	log := written(t, made(count), 0)
	got, err := snapshotlist.Read(strings.NewReader(log))
	if err != nil || len(got) != count {
		t.Fatalf("of %d snapshots %d came, %v", count, len(got), err)
	}
	// With what the container runtime puts before each line, the kubelet must not begin a new file.
	const prefix, rotation = 45, 10 << 20
	size := len(log) + (count+1)*prefix
	t.Logf("%d snapshots take %.1f MiB, %d bytes each", count, float64(size)/(1<<20), size/count)
	if size > rotation {
		t.Errorf("%d bytes, the kubelet cuts at %d", size, rotation)
	}
}

func TestWhatIsBeyondALogIsSaid(t *testing.T) {
	list := made(20_000)
	var log bytes.Buffer
	leftOut, err := snapshotlist.Write(&log, list, 2)
	if err != nil || leftOut == 0 {
		t.Fatalf("left out are %d, %v", leftOut, err)
	}
	got, err := snapshotlist.Read(&log)
	var partial *snapshotlist.PartialError
	if !errors.As(err, &partial) || partial.LeftOut != leftOut || partial.Unreadable != 2 {
		t.Errorf("got %v, want %d left out", err, leftOut)
	}
	// The newest ones are there.
	if diff := cmp.Diff(list[:len(list)-leftOut], got); diff != "" {
		t.Error(diff)
	}
}

func TestLinesAreShort(t *testing.T) {
	long := made(1)[0]
	long.Paths = nil
	for i := range 2000 {
		long.Paths = append(long.Paths, fmt.Sprintf("/home/ann/folder-%d", i))
	}
	worst := made(1)[0]
	worst.Pod = strings.Repeat("p", snapshotlist.MaxLine)
	log := written(t, []snapshotlist.Snapshot{long, worst}, 0)
	for line := range strings.Lines(log) {
		if len(line) > snapshotlist.MaxLine+1 {
			t.Errorf("a line has %d bytes", len(line))
		}
	}
	got, err := snapshotlist.Read(strings.NewReader(log))
	if err != nil || len(got) != 2 {
		t.Fatalf("got %d, %v", len(got), err)
	}
	if !got[0].Cut || got[0].Pod != long.Pod || got[0].Paths != nil || !got[1].Cut || got[1].ID != worst.ID {
		t.Errorf("got %+v", got)
	}
}

// broken fails when it has taken some bytes.
type broken struct{ left int }

var errFull = errors.New("no space left")

func (b *broken) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriteTellsOfAWriterThatFails(t *testing.T) {
	if _, err := snapshotlist.Write(&broken{left: 10_000}, made(100), 0); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
}
