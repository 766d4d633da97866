// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package process

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const rest = " 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 987654 4096 1 18446744073709551615"
	tests := map[string]struct {
		stat  string
		state string
		start uint64
		fails bool
	}{
		"a plain name":                       {stat: "42 (kubelet) S" + rest, state: "S", start: 987654},
		"a name with spaces and parentheses": {stat: "42 (a) Z (b c)) R" + rest, state: "R", start: 987654},
		"a zombie":                           {stat: "42 (etcd) Z" + rest, state: "Z", start: 987654},
		"a truncated line":                   {stat: "42 (etcd) S 1 2 3", fails: true},
		"a start time that is not a number":  {stat: "42 (x) S 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 soon", fails: true},
		"a line without a name":              {stat: "", fails: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			state, start, err := parseStat(test.stat)
			if (err != nil) != test.fails {
				t.Fatalf("error %v, want one: %t", err, test.fails)
			}
			if state != test.state || start != test.start {
				t.Errorf("got state %q, start %d, want %q, %d", state, start, test.state, test.start)
			}
		})
	}
}

func TestStopEndsTheRecordedProcessOnly(t *testing.T) {
	table := Table{Records: t.TempDir(), Logs: t.TempDir()}
	if err := table.Start(Command{Name: "sleeper", Path: "/bin/sleep", Args: []string{"600"}}); err != nil {
		t.Fatal(err)
	}
	records, err := table.List()
	if err != nil || len(records) != 1 {
		t.Fatalf("got %d records and error %v, want 1", len(records), err)
	}
	sleeper := records[0].Identity
	if !sleeper.Alive() {
		t.Fatal("Alive returns false for a running process")
	}

	recycled := sleeper
	recycled.Start--
	otherBoot := sleeper
	otherBoot.Boot = "another boot"
	for _, identity := range []Identity{recycled, otherBoot} {
		if err := identity.Stop(t.Context(), time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if !sleeper.Alive() {
		t.Fatal("Stop stopped a process that only has the same ID as the recorded one")
	}

	if err := table.Stop(t.Context(), "sleeper", 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if sleeper.Alive() {
		t.Error("the process still runs after Stop")
	}
	if records, _ := table.List(); len(records) != 0 {
		t.Errorf("%d records exist after Stop, want none", len(records))
	}
}

func TestStopKillsProcessThatIgnoresTerm(t *testing.T) {
	table := Table{Records: t.TempDir(), Logs: t.TempDir()}
	script := "trap '' TERM; echo ready; while :; do sleep 1; done"
	if err := table.Start(Command{Name: "stubborn", Path: "/bin/sh", Args: []string{"-c", script}}); err != nil {
		t.Fatal(err)
	}
	for table.Tail("stubborn", 1) != "ready" {
		time.Sleep(10 * time.Millisecond)
	}
	records, err := table.List()
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Stop(t.Context(), "stubborn", 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if records[0].Identity.Alive() {
		t.Error("a process that ignores SIGTERM still runs after Stop")
	}
}

func TestZombieIsNotAlive(t *testing.T) {
	cmd := exec.Command("/bin/true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	for {
		_, err := Of(cmd.Process.Pid)
		if errors.Is(err, os.ErrNotExist) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
