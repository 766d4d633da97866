// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Command mutation checks the tests: it makes small changes to the product, one at a time, and runs the tests that must
// notice each. It fails when every test passes in spite of a change, when a change does not compile, and when the code
// to change is no longer there.
//
//	go run ./test/mutation                  try every change
//	go run ./test/mutation -only agent/     try the changes whose file or name contains the text
//	go run ./test/mutation -list            print the changes
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutation:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	only := flag.String("only", "", "try only changes whose file or name contains this text")
	list := flag.Bool("list", false, "print the changes, and try none")
	parallel := flag.Int("parallel", 2, "how many changes to try at a time")
	timeout := flag.Duration("timeout", 2*time.Minute, "time limit for the tests of one change, without compilation")
	flag.Parse()
	root, err := repositoryRoot(ctx)
	if err != nil {
		return err
	}
	chosen := matching(mutants(), *only)
	if len(chosen) == 0 {
		return fmt.Errorf("no change has %q in its file or name: see -list", *only)
	}
	if *list {
		for _, m := range chosen {
			fmt.Printf("%s: %s: go test %s\n", m.File, m.Name, strings.Join(m.Test, " "))
		}
		return nil
	}
	return try(ctx, bench{root: root, timeout: *timeout}, chosen, *parallel)
}

func repositoryRoot(ctx context.Context) (string, error) {
	module, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("finding the root of the repository: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(module))), nil
}

func matching(all []Mutant, text string) []Mutant {
	var chosen []Mutant
	for _, m := range all {
		if strings.Contains(m.File, text) || strings.Contains(m.Name, text) {
			chosen = append(chosen, m)
		}
	}
	return chosen
}

// try tries the mutants out, several at a time, and reports on each as it is done.
func try(ctx context.Context, b bench, chosen []Mutant, parallel int) error {
	var group sync.WaitGroup
	var lock sync.Mutex
	var failures []error
	unchanged := newBaseline(b)
	slots := make(chan struct{}, max(1, parallel))
	begin := time.Now()
	for _, m := range chosen {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			start := time.Now()
			err := unchanged.check(ctx, m.Test)
			var killers []string
			if err == nil {
				killers, err = b.try(ctx, m)
			}
			lock.Lock()
			defer lock.Unlock()
			took := time.Since(start).Round(time.Second)
			if err != nil {
				failures = append(failures, fmt.Errorf("%s: %s: %w", m.File, m.Name, err))
				fmt.Printf("FAILED %4s  %s: %s: %v\n", took, m.File, m.Name, err)
				return
			}
			fmt.Printf("killed %4s  %s: %s: by %s\n", took, m.File, m.Name, strings.Join(killers, ", "))
		})
	}
	group.Wait()
	fmt.Printf("%d of %d changes were noticed by a test, in %s\n",
		len(chosen)-len(failures), len(chosen), time.Since(begin).Round(time.Second))
	return errors.Join(failures...)
}

// baseline remembers which tests pass without any change.
type baseline struct {
	bench bench
	mutex sync.Mutex
	known map[string]func() error
}

func newBaseline(b bench) *baseline { return &baseline{bench: b, known: map[string]func() error{}} }

// check returns an error unless the tests pass without any change. It runs each selection of tests once.
func (b *baseline) check(ctx context.Context, arguments []string) error {
	b.mutex.Lock()
	key := strings.Join(arguments, " ")
	if b.known[key] == nil {
		b.known[key] = sync.OnceValue(func() error { return b.bench.check(ctx, arguments) })
	}
	ask := b.known[key]
	b.mutex.Unlock()
	return ask()
}
