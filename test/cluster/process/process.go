// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package process starts programs that continue to run after the process that started them, and stops only these.
//
// It records the process ID, the start time and the boot ID of each process in a file. A later process with the same ID
// has another identity, so the package does not stop it.
package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Identity identifies a process, even if an earlier or a later process has the same ID.
type Identity struct {
	PID int `json:"pid"`
	// Start is the start time in clock ticks since boot: field 22 of /proc/<pid>/stat, see proc(5).
	Start uint64 `json:"start"`
	// Boot is /proc/sys/kernel/random/boot_id.
	Boot string `json:"boot"`
}

// Of returns the identity of a running process. It returns fs.ErrNotExist if no process with that ID runs.
func Of(pid int) (Identity, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Identity{}, fmt.Errorf("reading the state of process %d: %w", pid, err)
	}
	state, start, err := parseStat(string(stat))
	if err != nil {
		return Identity{}, fmt.Errorf("reading the state of process %d: %w", pid, err)
	}
	if state == "Z" || state == "X" {
		return Identity{}, fmt.Errorf("reading the state of process %d, which has ended: %w", pid, os.ErrNotExist)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Identity{}, fmt.Errorf("reading the boot id: %w", err)
	}
	return Identity{PID: pid, Start: start, Boot: strings.TrimSpace(string(boot))}, nil
}

// parseStat returns the state (field 3) and the start time (field 22) from /proc/<pid>/stat. Field 2, the program's
// name in parentheses, can contain spaces and parentheses, so counting starts after the last parenthesis.
func parseStat(stat string) (state string, start uint64, err error) {
	end := strings.LastIndex(stat, ")")
	fields := strings.Fields(stat[end+1:])
	if end < 0 || len(fields) < 20 {
		return "", 0, fmt.Errorf("process state %q has too few fields", stat)
	}
	start, err = strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf("parsing the start time: %w", err)
	}
	return fields[0], start, nil
}

// Alive returns whether this process still runs.
func (i Identity) Alive() bool {
	now, err := Of(i.PID)
	return err == nil && now == i
}

// signal sends a signal to this process or to none: it opens the pidfd before it checks the identity.
func (i Identity) signal(sig unix.Signal) error {
	fd, err := unix.PidfdOpen(i.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening process %d: %w", i.PID, err)
	}
	defer func() { _ = unix.Close(fd) }() // nothing is written to it
	if !i.Alive() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("sending %s to process %d: %w", unix.SignalName(sig), i.PID, err)
	}
	return nil
}

// Stop sends SIGTERM, and SIGKILL if the process still runs after the grace period. It waits until the process has
// ended. It succeeds if the process has already ended, or if another process has its ID now.
func (i Identity) Stop(ctx context.Context, grace time.Duration) error {
	if err := i.signal(unix.SIGTERM); err != nil {
		return err
	}
	if i.gone(ctx, grace) {
		return nil
	}
	if err := i.signal(unix.SIGKILL); err != nil {
		return err
	}
	if !i.gone(ctx, 10*time.Second) {
		return fmt.Errorf("stopping process %d: it still runs after SIGKILL", i.PID)
	}
	return nil
}

func (i Identity) gone(ctx context.Context, within time.Duration) bool {
	deadline := time.Now().Add(within)
	for i.Alive() {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
	return true
}

// Command is a program with everything that is needed to start it again.
type Command struct {
	// Name is the name of the process in messages, and of its record and log files.
	Name string   `json:"name"`
	Path string   `json:"path"`
	Args []string `json:"args"`
	// Env is the complete environment; the process inherits nothing.
	Env []string `json:"env,omitempty"`
}

// Record is the record of a started process.
type Record struct {
	Command  Command  `json:"command"`
	Identity Identity `json:"identity"`
}

// Table has the directories of the records and logs of one cluster's processes.
type Table struct {
	// Records has files <name>.json. Only the owner can read them, because an environment may contain secrets.
	Records string
	// Logs has files <name>.log. A restarted program appends to its log.
	Logs string
}

// Start starts the command in its own session, with both streams written to its log, and records it. It fails if the
// process ends immediately.
func (t Table) Start(c Command) error {
	for _, folder := range []string{t.Records, t.Logs} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return fmt.Errorf("starting %s: %w", c.Name, err)
		}
	}
	log, err := os.OpenFile(t.Log(c.Name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log of %s: %w", c.Name, err)
	}
	defer func() { _ = log.Close() }() // this program writes nothing to it
	cmd := exec.Command(c.Path, c.Args...)
	cmd.Env = append([]string{}, c.Env...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", c.Name, err)
	}
	identity, err := Of(cmd.Process.Pid)
	// This program reaps the process while it runs; after that, init does.
	go func() { _ = cmd.Wait() }()
	if err != nil {
		return fmt.Errorf("starting %s, which ended immediately (log: %s): %w", c.Name, t.Log(c.Name), err)
	}
	content, err := json.MarshalIndent(Record{Command: c, Identity: identity}, "", "  ")
	if err != nil {
		return fmt.Errorf("recording %s: %w", c.Name, err)
	}
	if err := os.WriteFile(t.record(c.Name), content, 0o600); err != nil {
		return errors.Join(fmt.Errorf("recording %s: %w", c.Name, err), identity.signal(unix.SIGKILL))
	}
	return nil
}

// List returns all recorded processes, running or not, sorted by name.
func (t Table) List() ([]Record, error) {
	files, err := filepath.Glob(filepath.Join(t.Records, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("listing recorded processes: %w", err)
	}
	records := make([]Record, 0, len(files))
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading a recorded process: %w", err)
		}
		var record Record
		if err := json.Unmarshal(content, &record); err != nil {
			return nil, fmt.Errorf("reading the recorded process %s: %w", file, err)
		}
		records = append(records, record)
	}
	return records, nil
}

// Stop stops a process and removes its record. It succeeds if the process was never recorded.
func (t Table) Stop(ctx context.Context, name string, grace time.Duration) error {
	records, err := t.List()
	if err != nil {
		return err
	}
	for _, record := range records {
		if record.Command.Name != name {
			continue
		}
		if err := record.Identity.Stop(ctx, grace); err != nil {
			return fmt.Errorf("stopping %s: %w", name, err)
		}
		return os.Remove(t.record(name))
	}
	return nil
}

// Log returns the path of the log of a process.
func (t Table) Log(name string) string { return filepath.Join(t.Logs, name+".log") }

// Tail returns the last lines of the log of a process, for an error message.
func (t Table) Tail(name string, lines int) string {
	content, err := os.ReadFile(t.Log(name))
	if err != nil {
		return ""
	}
	all := bytes.Split(bytes.TrimSpace(content), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

func (t Table) record(name string) string { return filepath.Join(t.Records, name+".json") }
