// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Command velero-restic-restore-helper is the init container of a restored pod. It lets the pod start once every volume
// mounted below /restores holds the marker that its restore is done, and stops it where one could not be restored.
//
//	velero-restic-restore-helper [--timeout 4h30m] [--root /restores] RESTORE-UID
//
// Exit codes: 0 every volume is there; 1 a restore failed or took too long; 2 called wrongly or without a volume;
// 128 and the signal's number when it is told to end. For 1 and 2 the reason becomes the termination message, which
// `kubectl describe pod` shows.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// defaultTimeout is longer than the 4 h that Velero gives an asynchronous operation (velero v1.18.3,
// pkg/cmd/server/config/config.go, defaultItemOperationTimeout), so that Velero gives up first and says why.
const defaultTimeout = 4*time.Hour + 30*time.Minute

const (
	pollInterval   = 500 * time.Millisecond
	reportInterval = time.Minute
)

// Exit codes beside 0 and 128 + signal.
const (
	exitNotRestored = 1
	exitMisuse      = 2
)

func main() {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		if received, ok := (<-signals).(syscall.Signal); ok {
			cancel(signalError(received))
		}
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// signalError is why a context ended when somebody told the process to end.
type signalError syscall.Signal

func (e signalError) Error() string { return "told to end by signal: " + syscall.Signal(e).String() }

type options struct {
	restoreUID, root, terminationLog string
	timeout                          time.Duration
}

func parse(arguments []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("velero-restic-restore-helper", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.DurationVar(&o.timeout, "timeout", defaultTimeout, "give up after this long")
	flags.StringVar(&o.root, "root", contract.RestoreVolumesDir, "folder that the volumes are mounted in")
	flags.StringVar(&o.terminationLog, "termination-log", "/dev/termination-log", "file for the reason of a failure")
	if err := flags.Parse(arguments); err != nil {
		return o, err
	}
	if flags.NArg() != 1 {
		return o, fmt.Errorf("got %d arguments: give the restore's UID, after the flags", flags.NArg())
	}
	o.restoreUID = flags.Arg(0)
	if o.restoreUID == "" || strings.ContainsAny(o.restoreUID, "/\x00") || strings.HasPrefix(o.restoreUID, ".") {
		return o, fmt.Errorf("restore UID %q cannot be the name of a file: give the restore's "+
			"metadata.uid", o.restoreUID)
	}
	if o.timeout <= 0 {
		return o, fmt.Errorf("--timeout %s is not positive: give a duration such as 4h30m", o.timeout)
	}
	return o, nil
}

// run returns the exit code.
func run(ctx context.Context, arguments []string, stdout, stderr io.Writer) int {
	o, err := parse(arguments, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return fail(o.terminationLog, exitMisuse, err, stderr)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, timeoutError(o.timeout))
	defer cancel()
	poll, report := time.NewTicker(pollInterval), time.NewTicker(reportInterval)
	defer poll.Stop()
	defer report.Stop()

	err = wait(ctx, watch{root: o.root, restoreUID: o.restoreUID, output: stdout, poll: poll.C, report: report.C})
	var ended signalError
	switch {
	case err == nil:
		fmt.Fprintln(stdout, "every volume is restored")
		return 0
	case errors.As(err, &ended):
		fmt.Fprintln(stderr, err)
		return 128 + int(ended)
	case errors.Is(err, errNoVolume):
		return fail(o.terminationLog, exitMisuse, err, stderr)
	}
	return fail(o.terminationLog, exitNotRestored, err, stderr)
}

// timeoutError is why a context ended when the deadline passed.
type timeoutError time.Duration

func (e timeoutError) Error() string { return "gave up after " + time.Duration(e).String() }

// fail says why, in the log and in the pod's status, and passes the exit code on.
func fail(terminationLog string, code int, reason error, stderr io.Writer) int {
	message := printable(reason.Error(), contract.MarkerReasonMax)
	fmt.Fprintln(stderr, message)
	if terminationLog == "" {
		return code
	}
	// The kubelet makes the file; without one there is no status to write to.
	file, err := os.OpenFile(terminationLog, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		fmt.Fprintln(stderr, "writing the termination message:", err)
		return code
	}
	_, err = file.WriteString(message)
	if err := errors.Join(err, file.Close()); err != nil {
		fmt.Fprintln(stderr, "writing the termination message:", err)
	}
	return code
}

// printable makes foreign text fit for a log line and a status field: valid UTF-8, one line, no control or invisible
// characters, at most limit bytes.
func printable(text string, limit int) string {
	clean := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(clean) > limit {
		clean = strings.ToValidUTF8(clean[:limit], "")
	}
	return strings.TrimSpace(clean)
}
