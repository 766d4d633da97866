// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package part

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// Build builds the named programs that are missing in the cache; without a name, all programs of the cluster. It prints
// its steps and their durations to out.
//
// Build downloads the sources of all parts in parallel, and compiles one part at a time, because one build uses all
// processors. An interrupted build leaves no incomplete program, and the next build continues. Builds of several
// processes wait for each other. An error contains the last lines of go's output.
func (c Cache) Build(ctx context.Context, out io.Writer, programs ...string) error {
	unlock, err := c.lock(ctx, out)
	if err != nil {
		return err
	}
	defer unlock()
	todo, err := c.missing(programs)
	if err != nil || len(todo) == 0 {
		return err
	}
	start := time.Now()
	p := &printer{out: out, start: start}
	p.say("building %d parts into %s", len(todo), c.Root)
	group, ctx := errgroup.WithContext(ctx)
	fetched := make([]chan struct{}, len(todo))
	for i, job := range todo {
		fetched[i] = make(chan struct{})
		group.Go(func() error {
			defer close(fetched[i])
			return c.fetch(ctx, job)
		})
	}
	group.Go(func() error {
		for i, job := range todo {
			<-fetched[i]
			if err := c.compile(ctx, job, p); err != nil {
				return err
			}
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return err
	}
	p.say("all parts built")
	return nil
}

// job is a part and the packages whose programs are missing.
type job struct {
	part     Part
	folder   string
	packages []string
}

func (c Cache) missing(programs []string) ([]job, error) {
	var todo []job
	known := map[string]bool{}
	for _, p := range All() {
		folder, err := c.folder(p)
		if err != nil {
			return nil, err
		}
		j := job{part: p, folder: folder}
		for i, name := range p.Binaries() {
			known[name] = true
			if !slices.Contains(programs, name) && (len(programs) > 0 || p.OnRequest) {
				continue
			}
			if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
				j.packages = append(j.packages, p.importPath(i))
			}
		}
		if len(j.packages) > 0 {
			todo = append(todo, j)
		}
	}
	for _, name := range programs {
		if !known[name] {
			return nil, fmt.Errorf("building %s: unknown program; the programs are %s",
				name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
	}
	return todo, nil
}

// fetch downloads only what the programs need. `go mod download` would also download what tests import.
func (c Cache) fetch(ctx context.Context, j job) error {
	args := append([]string{"list", "-mod=readonly", "-deps", "-f", "{{.Name}}"}, j.packages...)
	if err := c.run(ctx, j.part, args...); err != nil {
		return fmt.Errorf("fetching the sources of %s: %w", j.part.Name, err)
	}
	return nil
}

func (c Cache) compile(ctx context.Context, j job, p *printer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	start := time.Now()
	if err := os.MkdirAll(j.folder, 0o755); err != nil {
		return fmt.Errorf("creating the cache directory: %w", err)
	}
	// Remove the directories of killed builds. The lock ensures that no build is running.
	stale, err := filepath.Glob(filepath.Join(filepath.Dir(j.folder), "build-*"))
	if err != nil {
		return fmt.Errorf("listing stale build folders: %w", err)
	}
	for _, folder := range stale {
		if err := os.RemoveAll(folder); err != nil {
			return fmt.Errorf("removing a stale build folder: %w", err)
		}
	}
	temporary, err := os.MkdirTemp(filepath.Dir(j.folder), "build-*")
	if err != nil {
		return fmt.Errorf("creating the build directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(temporary) }() // the next build removes it if this fails
	args := []string{"build", "-mod=readonly", "-trimpath", "-ldflags", j.part.ldflags(), "-o", temporary + "/"}
	if err := c.run(ctx, j.part, append(args, j.packages...)...); err != nil {
		return fmt.Errorf("building %s: %w", j.part.Name, err)
	}
	entries, err := os.ReadDir(temporary)
	if err != nil {
		return fmt.Errorf("reading the build folder: %w", err)
	}
	for _, entry := range entries {
		if err := os.Rename(filepath.Join(temporary, entry.Name()), filepath.Join(j.folder, entry.Name())); err != nil {
			return fmt.Errorf("keeping %s: %w", entry.Name(), err)
		}
	}
	p.say("%s %s built in %s", j.part.Name, j.part.Version, time.Since(start).Round(time.Second))
	return nil
}

// run runs go in the part's module, without variables of the environment that change the result.
func (c Cache) run(ctx context.Context, p Part, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = c.source(p)
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		switch name {
		case "GOFLAGS", "GOWORK", "GOOS", "GOARCH", "CGO_ENABLED":
		default:
			cmd.Env = append(cmd.Env, pair)
		}
	}
	cmd.Env = append(cmd.Env, "GOFLAGS=-buildvcs=false", "GOWORK=off", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%w: %s", err, tail(stderr.String(), 10))
	}
	return nil
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (c Cache) lock(ctx context.Context, out io.Writer) (func(), error) {
	if err := os.MkdirAll(c.Root, 0o755); err != nil {
		return nil, fmt.Errorf("making the cache folder: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(c.Root, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking the cache: %w", err)
	}
	for waited := false; ; waited = true {
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			return func() { _ = file.Close() }, nil // the end of the process also unlocks it
		}
		if !waited {
			fmt.Fprintln(out, "waiting for another build of the cluster's parts to end")
		}
		select {
		case <-ctx.Done():
			_ = file.Close() // nothing was written
			return nil, fmt.Errorf("waiting for another build: %w", ctx.Err())
		case <-time.After(time.Second):
		}
	}
}

// printer prints the time since the start before each line.
type printer struct {
	mu    sync.Mutex
	out   io.Writer
	start time.Time
}

func (p *printer) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, "%6.1fs  %s\n", time.Since(p.start).Seconds(), fmt.Sprintf(format, args...))
}
