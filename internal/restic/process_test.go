// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restic_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// fakeVariable makes the test binary play restic, in the role that it names.
const fakeVariable = "FAKE_RESTIC"

func TestMain(m *testing.M) {
	if role := os.Getenv(fakeVariable); role != "" {
		os.Exit(fakeRestic(role))
	}
	os.Exit(m.Run())
}

const fakeSecret = "s3cr3t-value"

func fakeRestic(role string) int {
	switch role {
	case "long line":
		fmt.Printf("first\n%s\nlast", strings.Repeat("x", 300<<10))
	case "environment":
		fmt.Println(strings.Join(os.Environ(), " "))
		dir, _ := os.Getwd()
		fmt.Println(dir)
	case "noise":
		fmt.Fprintln(os.Stderr, strings.Repeat("noise ", 400<<10/6))
		for range 4000 {
			fmt.Fprintln(os.Stderr, strings.Repeat("noise ", 17))
		}
		fmt.Println("done")
		fmt.Fprintln(os.Stderr, `{"message_type":"exit_error","code":11,"message":"Fatal: locked by `+fakeSecret+`"}`)
		return 11
	case "problems":
		for i := range 25 {
			fmt.Printf("line %d\n", i)
			fmt.Fprintf(os.Stderr, "{\"message_type\":\"error\",\"error\":{\"message\":\"open %s: no\"},"+
				"\"during\":\"archival\",\"item\":\"/f%d\"}\n", fakeSecret, i)
		}
		return 3
	case "texts":
		fmt.Fprintln(os.Stderr, "Ignoring "+fakeSecret)
		fmt.Fprintln(os.Stderr, `{"message_type":"error","error":{"message":"no"}}`)
		fmt.Fprint(os.Stderr, "the last")
	case "usage":
		fmt.Fprintln(os.Stderr, "unknown flag: --bogus")
		return 1
	case "transport":
		fmt.Fprintln(os.Stderr, `{"message_type":"exit_error","code":1,"message":"Fatal: file already closed"}`)
		if err := appendTo(os.Getenv("TRANSPORT_ERRORS"), "one\nno key for "+fakeSecret+"\n"); err != nil {
			return 99
		}
		return 1
	case "suicide":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "stubborn", "polite", "well done":
		return fakeWaiting(role)
	case "grandchild":
		child := exec.Command("/proc/self/exe")
		child.Env = []string{fakeVariable + "=stubborn"}
		child.Stdout = os.Stdout
		if err := child.Start(); err != nil {
			return 99
		}
		return fakeWaiting("polite")
	}
	return 0
}

// fakeWaiting says its process ID, and then waits for a signal.
func fakeWaiting(role string) int {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	fmt.Println(os.Getpid())
	if role == "stubborn" {
		time.Sleep(time.Hour)
	}
	<-signals
	if role == "well done" {
		return 0
	}
	fmt.Fprintln(os.Stderr, "signal terminated received, cleaning up")
	return 130
}

func appendTo(path, text string) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

func fake(t *testing.T, role string) (restic.Process, restic.Command) {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return restic.Process{Binary: binary, Grace: 300 * time.Millisecond},
		restic.Command{Args: []string{"backup"}, Env: []string{fakeVariable + "=" + role, "SOME_PASSWORD=" + fakeSecret}}
}

func TestRunHandsOnLongLines(t *testing.T) {
	process, cmd := fake(t, "long line")
	var lengths []int
	if err := process.Run(t.Context(), cmd, func(line []byte) { lengths = append(lengths, len(line)) }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{5, 300 << 10, 4}, lengths); diff != "" {
		t.Error(diff)
	}
	cmd.MaxLine = 1 << 10
	lengths = nil
	if err := process.Run(t.Context(), cmd, func(line []byte) { lengths = append(lengths, len(line)) }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{5, 4}, lengths); diff != "" {
		t.Error(diff)
	}
}

func TestRunInheritsNothing(t *testing.T) {
	t.Setenv("INHERITED", "yes")
	process, cmd := fake(t, "environment")
	cmd.Dir = t.TempDir()
	var lines []string
	if err := process.Run(t.Context(), cmd, func(line []byte) { lines = append(lines, string(line)) }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{strings.Join(cmd.Env, " "), cmd.Dir}, lines); diff != "" {
		t.Error(diff)
	}
}

func TestRunSurvivesNoise(t *testing.T) {
	process, cmd := fake(t, "noise")
	err := process.Run(t.Context(), cmd, nil)
	var exit *restic.ExitError
	if !errors.As(err, &exit) || !errors.Is(err, restic.ErrLocked) {
		t.Fatalf("got %v", err)
	}
	if exit.Message != "locked by [SOME_PASSWORD]" {
		t.Errorf("got message %q", exit.Message)
	}
	if len(exit.Output) > 2048 {
		t.Errorf("%d bytes of output are kept", len(exit.Output))
	}
}

func TestRunTellsOfProblemsWithoutSecrets(t *testing.T) {
	process, cmd := fake(t, "problems")
	var problems []restic.Problem
	lines := 0
	cmd.OnProblem = func(problem restic.Problem) { problems = append(problems, problem) }
	err := process.Run(t.Context(), cmd, func([]byte) { lines++ })
	if !errors.Is(err, restic.ErrSourceIncomplete) {
		t.Fatalf("got %v", err)
	}
	if lines != 25 || len(problems) != 25 {
		t.Fatalf("got %d lines and %d problems", lines, len(problems))
	}
	want := restic.Problem{Item: "/f24", During: "archival", Message: "open [SOME_PASSWORD]: no"}
	if diff := cmp.Diff(want, problems[24]); diff != "" {
		t.Error(diff)
	}
}

func TestRunHandsOnTextsWithoutSecrets(t *testing.T) {
	process, cmd := fake(t, "texts")
	var texts []string
	cmd.OnText = func(line string) { texts = append(texts, line) }
	if err := process.Run(t.Context(), cmd, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Ignoring [SOME_PASSWORD]", "the last"}, texts); diff != "" {
		t.Error(diff)
	}
}

func TestRunTranslatesEnds(t *testing.T) {
	cases := map[string]struct {
		want error
		text string
	}{
		"usage":   {nil, "restic backup: unknown flag: --bogus: exit code 1"},
		"suicide": {restic.ErrKilled, "restic backup: " + restic.ErrKilled.Error()},
	}
	for role, c := range cases {
		t.Run(role, func(t *testing.T) {
			process, cmd := fake(t, role)
			err := process.Run(t.Context(), cmd, nil)
			if err == nil || err.Error() != c.text {
				t.Errorf("got %v", err)
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v is not %v", err, c.want)
			}
		})
	}
}

func TestRunStopsWithItsContext(t *testing.T) {
	cause := errors.New("asked for by the user")
	for _, role := range []string{"polite", "stubborn", "grandchild"} {
		t.Run(role, func(t *testing.T) {
			process, cmd := fake(t, role)
			ctx, cancel := context.WithCancelCause(t.Context())
			wanted := 1
			if role == "grandchild" {
				wanted = 2
			}
			var pids []int
			err := process.Run(ctx, cmd, func(line []byte) {
				pid, err := strconv.Atoi(string(line))
				if err != nil {
					t.Error(err)
				}
				if pids = append(pids, pid); len(pids) == wanted {
					cancel(cause)
				}
			})
			if !errors.Is(err, restic.ErrCanceled) || !errors.Is(err, cause) {
				t.Errorf("got %v", err)
			}
			if len(pids) != wanted {
				t.Fatalf("got processes %v", pids)
			}
			for _, pid := range pids {
				waitGone(t, pid)
			}
		})
	}
}

// waitGone waits until the process has ended. One whose parent has ended first may stay for a while as a zombie.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil {
			return
		}
		_, state, _ := strings.Cut(string(stat), ") ")
		if strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X") {
			return
		}
	}
	t.Errorf("process %d is still there", pid)
}

func TestRunThatEndsWellAfterAllIsASuccess(t *testing.T) {
	process, cmd := fake(t, "well done")
	process.Grace = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	if err := process.Run(ctx, cmd, func([]byte) { cancel() }); err != nil {
		t.Error(err)
	}
}

func TestRunDoesNotStartTooLate(t *testing.T) {
	process, cmd := fake(t, "noise")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := process.Run(ctx, cmd, nil); !errors.Is(err, restic.ErrCanceled) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestRunWithoutAProgram(t *testing.T) {
	process := restic.Process{Binary: filepath.Join(t.TempDir(), "restic")}
	err := process.Run(t.Context(), restic.Command{Args: []string{"version"}}, nil)
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), process.Binary) {
		t.Errorf("got %v", err)
	}
}

// TestChildEndsWithItsParent kills a process that runs restic: restic must not go on.
func TestChildEndsWithItsParent(t *testing.T) {
	parent := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestRunAsAParent$", "-test.v")
	parent.Env = append(os.Environ(), parentVariable+"=1")
	stdout, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	lines := bufio.NewScanner(stdout)
	for pid == 0 && lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "child "); ok {
			pid, err = strconv.Atoi(text)
		}
	}
	if pid == 0 || err != nil {
		t.Fatalf("no child: %v", err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed
	waitGone(t, pid)
}

const parentVariable = "FAKE_PARENT"

// TestRunAsAParent is the process that TestChildEndsWithItsParent kills.
func TestRunAsAParent(t *testing.T) {
	if os.Getenv(parentVariable) == "" {
		return
	}
	process, cmd := fake(t, "polite")
	err := process.Run(t.Context(), cmd, func(line []byte) { fmt.Printf("child %s\n", line) })
	t.Errorf("the child has ended: %v", err)
}

// TestRunAsksTheTransport has what restic starts to reach the storage write into its file, in each of three runs.
func TestRunAsksTheTransport(t *testing.T) {
	process, cmd := fake(t, "transport")
	cmd.TransportErrors = filepath.Join(t.TempDir(), "errors")
	cmd.Env = append(cmd.Env, "TRANSPORT_ERRORS="+cmd.TransportErrors)
	for range 3 {
		err := process.Run(t.Context(), cmd, nil)
		if err == nil || err.Error() != "restic backup: no key for [SOME_PASSWORD]" {
			t.Fatalf("got %v", err)
		}
	}
	process, usage := fake(t, "usage")
	usage.TransportErrors = cmd.TransportErrors
	err := process.Run(t.Context(), usage, nil)
	if err == nil || !strings.Contains(err.Error(), "unknown flag: --bogus") {
		t.Errorf("the words of earlier runs hide the error: %v", err)
	}
}
