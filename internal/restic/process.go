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
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/internal/restic/sandbox"
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
	// Sandbox is an existing directory. If it is set, each command runs in a mount namespace and a root directory of
	// its own, which have only the command's Paths, restic itself, and what it needs of the system; the root is mounted
	// on Sandbox, in that namespace alone. Environment variables with a path as value keep their meaning only if the
	// path is one of these.
	Sandbox string
	// Refusal, if set, is the error of all commands with an untrusted path. It belongs to a Process without Sandbox.
	Refusal error
}

var _ Runner = Process{}

// Run implements Runner. It holds one thread for as long as it lasts. It fails with sandbox.ErrUnavailable if Sandbox
// is set and this process cannot build one.
func (p Process) Run(ctx context.Context, cmd Command, onLine func(line []byte)) error {
	if len(cmd.Args) == 0 {
		return errors.New("running restic: no subcommand")
	}
	if ctx.Err() != nil {
		return &ExitError{Subcommand: cmd.Args[0], Code: codeNotStarted, cause: context.Cause(ctx)}
	}
	out, transport := newOutput(cmd, onLine), openTransportLog(cmd.TransportErrors)
	process := p.command(ctx, cmd)
	process.Stdout, process.Stderr = &out.stdout, &out.stderr
	var waitErr error
	if err := p.confine(cmd, func() error {
		if err := process.Start(); err != nil {
			return fmt.Errorf("starting restic from %q: %w", p.Binary, err)
		}
		waitErr = process.Wait()
		killGroup(process.Process.Pid)
		return nil
	}); err != nil {
		return err
	}
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

// confine calls do, which starts the process and waits for it, on one thread: the kernel sends the parent-death signal
// when the thread that forked ends, not the process.
func (p Process) confine(cmd Command, do func() error) error {
	untrusted := func(path sandbox.Path) bool { return path.Untrusted }
	if p.Refusal != nil && slices.ContainsFunc(cmd.Paths, untrusted) {
		return fmt.Errorf("running restic %s: %w", cmd.Args[0], p.Refusal)
	}
	if p.Sandbox == "" {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		return do()
	}
	paths := slices.Concat([]sandbox.Path{{Name: p.Binary}}, systemPaths(), cmd.Paths)
	if err := sandbox.Run(p.Sandbox, paths, do); err != nil {
		return fmt.Errorf("running restic %s: %w", cmd.Args[0], err)
	}
	return nil
}

// systemPaths are what a static Go program may need to resolve names, to verify certificates and to show local times.
func systemPaths() []sandbox.Path {
	paths := []sandbox.Path{{Name: os.DevNull, Writable: true}}
	for _, name := range []string{
		"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/localtime",
		"/etc/ssl", "/etc/pki", "/usr/share/ca-certificates", "/usr/share/zoneinfo", "/dev/urandom",
	} {
		paths = append(paths, sandbox.Path{Name: name, Optional: true})
	}
	return paths
}

// CheckSandbox builds a sandbox with an untrusted directory and runs restic in it once. It returns an error that wraps
// sandbox.ErrUnavailable if this process cannot build one.
func (p Process) CheckSandbox(ctx context.Context) error {
	untrusted := []sandbox.Path{{Name: p.Sandbox, Untrusted: true}}
	return p.Run(ctx, Command{Args: []string{argVersion}, Paths: untrusted}, nil)
}

// volume returns the directory of a volume, which belongs to a tenant, as the path of a command.
func volume(dir string, writable bool) []sandbox.Path {
	return []sandbox.Path{{Name: dir, Writable: writable, Untrusted: true}}
}

// command prepares the process. exec.Cmd kills no more than the leader when the grace is over: see killGroup.
func (p Process) command(ctx context.Context, cmd Command) *exec.Cmd {
	process := exec.CommandContext(ctx, p.Binary, cmd.Args...)
	process.Env = append([]string{}, cmd.Env...) // never nil: that would inherit
	if p.Sandbox != "" && !slices.ContainsFunc(cmd.Env, isMaxProcs) {
		// Go reads the container's CPU limit from /proc, which a sandbox does not have.
		process.Env = append(process.Env, envMaxProcs+strconv.Itoa(runtime.GOMAXPROCS(0)))
	}
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

// envMaxProcs begins the entry of an environment that limits the threads of a Go program.
const envMaxProcs = "GOMAXPROCS="

func isMaxProcs(entry string) bool { return strings.HasPrefix(entry, envMaxProcs) }

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
