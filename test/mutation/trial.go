// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// killGrace is how much longer than its own -timeout `go test` may take: it compiles first, and a test that has
// started a process may keep it from ending.
const killGrace = 5 * time.Minute

// bench tries mutants out on one source tree, which it leaves unchanged: the changed file reaches the compiler through
// an overlay.
type bench struct {
	// root is the root of the repository.
	root string
	// timeout bounds the tests of one mutant.
	timeout time.Duration
}

// result is what `go test` reported.
type result struct {
	// failed holds the names of the failed tests, without subtests.
	failed []string
	// ran is whether any test started.
	ran bool
	// brokenBuild is whether a package did not compile.
	brokenBuild bool
	// timedOut is whether the tests reached their time limit.
	timedOut bool
	// output is what the tests and the compiler printed.
	output string
	// err is how `go test` ended.
	err error
}

// check runs the mutant's tests without the change. A test that fails anyway proves nothing.
func (b bench) check(ctx context.Context, arguments []string) error {
	r := b.test(ctx, arguments)
	switch {
	case r.err != nil:
		return fmt.Errorf("go test %s fails without any change: %w\n%s", strings.Join(arguments, " "), r.err, r.tail())
	case !r.ran:
		return fmt.Errorf("go test %s runs no test: correct the table in test/mutation", strings.Join(arguments, " "))
	}
	return nil
}

// try applies the mutant's change and returns the tests that failed. The error says why no test noticed the change, or
// why that cannot be known.
func (b bench) try(ctx context.Context, m Mutant) ([]string, error) {
	folder, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return nil, fmt.Errorf("creating a folder for the changed file: %w", err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	overlay, err := b.overlay(folder, m)
	if err != nil {
		return nil, err
	}
	r := b.test(ctx, append([]string{"-overlay=" + overlay}, m.Test...))
	switch {
	case r.brokenBuild:
		return nil, fmt.Errorf("the change does not compile, so that no test decides:\n%s", r.tail())
	case r.timedOut:
		return nil, fmt.Errorf("the tests did not end within %s: a test must fail by its own assertion", b.timeout)
	case r.err == nil:
		return nil, errors.New("SURVIVED: every test passes with this change")
	case len(r.failed) == 0:
		return nil, fmt.Errorf("no test failed, but go test did: %w\n%s", r.err, r.tail())
	}
	return r.failed, nil
}

// overlay writes the changed file and the overlay that names it into the folder, and returns the overlay's path.
func (b bench) overlay(folder string, m Mutant) (string, error) {
	content, err := m.apply(b.root)
	if err != nil {
		return "", err
	}
	changed, overlay := filepath.Join(folder, filepath.Base(m.File)), filepath.Join(folder, "overlay.json")
	index, err := json.Marshal(map[string]any{
		"Replace": map[string]string{filepath.Join(b.root, m.File): changed},
	})
	if err != nil {
		return "", fmt.Errorf("encoding the overlay: %w", err)
	}
	return overlay, errors.Join(os.WriteFile(changed, content, 0o600), os.WriteFile(overlay, index, 0o600))
}

// test runs `go test` with these arguments. It skips vet, whose findings are not failures of a test.
func (b bench) test(ctx context.Context, arguments []string) result {
	ctx, cancel := context.WithTimeout(ctx, b.timeout+killGrace)
	defer cancel()
	fixed := []string{"test", "-json", "-vet=off", "-timeout=" + b.timeout.String()}
	command := exec.CommandContext(ctx, "go", append(fixed, arguments...)...)
	command.Dir, command.WaitDelay = b.root, 10*time.Second
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	r := read(stdout.Bytes())
	r.output += stderr.String()
	r.err = err
	return r
}

// event is one line of `go test -json`: see `go doc test2json` and `go help buildjson`.
type event struct {
	Action, Test, Output string
}

// read returns what the events of `go test -json` report.
func read(events []byte) result {
	var r result
	var output strings.Builder
	for line := range bytes.Lines(events) {
		var e event
		if json.Unmarshal(line, &e) != nil {
			output.Write(line) // go test prints some errors as plain text
			continue
		}
		output.WriteString(e.Output)
		test, _, _ := strings.Cut(e.Test, "/")
		switch {
		case e.Action == "build-fail":
			r.brokenBuild = true
		case e.Action == "run":
			r.ran = true
		case e.Action == "fail" && test != "" && !slices.Contains(r.failed, test):
			r.failed = append(r.failed, test)
		}
		r.timedOut = r.timedOut || strings.HasPrefix(e.Output, "panic: test timed out after")
	}
	r.output = output.String()
	return r
}

// tail returns the end of the output.
func (r result) tail() string {
	const most = 2000
	return strings.TrimSpace(r.output[max(0, len(r.output)-most):])
}
