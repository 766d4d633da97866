// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// DefaultGrace is how long a restic that was asked to stop may take to finish its request and remove its lock.
const DefaultGrace = 30 * time.Second

// Process is the Runner that starts the restic program.
//
// The program leads a process group of its own, so that what it starts itself (ssh, rclone) ends with it, and so that
// a signal to the group of this process, such as the terminal's, leaves the stopping to Run.
type Process struct {
	// Binary is the path of the restic program.
	Binary string
	// Grace is how long a process may take to end after SIGTERM before it is killed; 0 means DefaultGrace.
	Grace time.Duration
}

var _ Runner = Process{}

// Run implements Runner. It holds one thread for as long as it lasts.
func (p Process) Run(ctx context.Context, cmd Command, onLine func(line []byte)) error {
	if len(cmd.Args) == 0 {
		return errors.New("running restic: no subcommand")
	}
	if ctx.Err() != nil {
		return &ExitError{Subcommand: cmd.Args[0], Code: codeNotStarted, cause: context.Cause(ctx)}
	}
	// The kernel sends the parent-death signal when the thread that forked ends, not the process. Locked to this
	// goroutine, the thread lives at least until the child is gone.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	out, transport := newOutput(cmd, onLine), openTransportLog(cmd.TransportErrors)
	process := p.command(ctx, cmd)
	process.Stdout, process.Stderr = &out.stdout, &out.stderr
	if err := process.Start(); err != nil {
		return fmt.Errorf("starting restic from %q: %w", p.Binary, err)
	}
	waitErr := process.Wait()
	killGroup(process.Process.Pid)
	out.close()

	state := process.ProcessState
	switch {
	case state == nil:
		return fmt.Errorf("waiting for restic %s: %w", cmd.Args[0], waitErr)
	case state.Success():
		// waitErr may still say that ctx ended just then, or that a descendant kept the output open. Neither
		// changes what restic has done.
		return nil
	}
	result := out.exitError(cmd.Args[0], exitCode(state), transport.said())
	if ctx.Err() != nil {
		result.cause = context.Cause(ctx)
	}
	return result
}

// command prepares the process. exec.Cmd kills no more than the leader when the grace is over: see killGroup.
func (p Process) command(ctx context.Context, cmd Command) *exec.Cmd {
	process := exec.CommandContext(ctx, p.Binary, cmd.Args...)
	process.Env = append([]string{}, cmd.Env...) // never nil: that would inherit
	process.Dir = cmd.Dir
	// SIGTERM, not SIGKILL: restic then removes its lock though nobody is there to wait for it.
	process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	process.Cancel = func() error {
		err := syscall.Kill(-process.Process.Pid, syscall.SIGTERM)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	process.WaitDelay = p.Grace
	if process.WaitDelay <= 0 {
		process.WaitDelay = DefaultGrace
	}
	return process
}

// killGroup ends what is left of a process group whose leader is gone. There is nothing left to be asked politely:
// restic waits for its own children. The group's number cannot be another's while a member lives, and without one
// the kernel hands it out again only after it has gone through all the others.
func killGroup(pid int) {
	// The one error that can come is that there is no such group, which is the aim.
	_ = syscall.Kill(-pid, syscall.SIGKILL)
}

// exitCode returns the exit code, in the way of a shell for a process that a signal ended.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return codeSignal + int(status.Signal())
	}
	return state.ExitCode()
}

// output takes in what a process writes. Its two streams are read by a goroutine each; the mutex keeps the callbacks
// of the command apart.
type output struct {
	mu             sync.Mutex
	stdout, stderr lineWriter
	says           stderrReader
	redact         redactor
}

func newOutput(cmd Command, onLine func(line []byte)) *output {
	o := &output{redact: newRedactor(cmd.Env)}
	o.says = stderrReader{onProblem: func(problem Problem) {
		if cmd.OnProblem != nil {
			problem.Message = o.redact.clean(problem.Message)
			cmd.OnProblem(problem)
		}
	}, onText: func(line string) {
		if cmd.OnText != nil {
			cmd.OnText(o.redact.clean(line))
		}
	}}
	if onLine == nil {
		onLine = func([]byte) {}
	}
	limit := cmd.MaxLine
	if limit <= 0 {
		limit = DefaultMaxLine
	}
	o.stdout = lineWriter{limit: limit, emit: o.locked(onLine)}
	o.stderr = lineWriter{limit: DefaultMaxLine, emit: o.locked(o.says.line)}
	return o
}

func (o *output) locked(emit func([]byte)) func([]byte) {
	return func(line []byte) {
		o.mu.Lock()
		defer o.mu.Unlock()
		emit(line)
	}
}

// close hands on what came after the last newline.
func (o *output) close() {
	o.stdout.close()
	o.stderr.close()
}

func (o *output) exitError(subcommand string, code int, transport string) *ExitError {
	return &ExitError{
		Subcommand: subcommand,
		Code:       code,
		Message:    o.redact.clean(o.says.message),
		Output:     o.redact.clean(o.says.tail()),
		Transport:  o.redact.clean(cmp.Or(transport, rcloneSays(o.says.tail()))),
	}
}
