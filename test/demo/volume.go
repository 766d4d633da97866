// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/test/fixture"
)

// volume is one volume of the sample pod.
type volume struct{ name, mount string }

func volumes() []volume {
	return []volume{{"pvc-volume", "/volume-1"}, {"emptydir-volume", "/volume-2"}}
}

// fixtureProgram is the path in the pod of the program that creates and records volumes.
const fixtureProgram = "/tmp/fixture"

// volumeTimeout limits filling or reading one volume, which takes a few seconds on two cores.
const volumeTimeout = 3 * time.Minute

// buildFixture builds the program statically, so that it runs in any image.
func (d *demo) buildFixture(ctx context.Context) error {
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", d.fixtureFile(),
		"./test/fixture/cmd")
	build.Dir = d.repository
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the fixture's program: %w: %s", err, output)
	}
	return nil
}

func (d *demo) fixtureFile() string { return filepath.Join(d.private, "fixture") }

// sendFixture copies the program to the pod. This works in any cluster, and needs only a shell in the image.
func (d *demo) sendFixture(ctx context.Context) error {
	program, err := os.Open(d.fixtureFile())
	if err != nil {
		return fmt.Errorf("reading the fixture's program: %w", err)
	}
	defer func() { _ = program.Close() }() // read-only, so an error loses nothing
	script := "cat > " + fixtureProgram + " && chmod 0755 " + fixtureProgram
	return d.inPod(ctx, call{args: []string{"sh", "-c", script}, stdin: program, stdout: &bytes.Buffer{}})
}

func (d *demo) inPod(ctx context.Context, c call) error {
	ctx, cancel := context.WithTimeout(ctx, volumeTimeout)
	defer cancel()
	args := []string{"kubectl", "-n", "foo", "exec"}
	if c.stdin != nil {
		args = append(args, "-i")
	}
	c.args = append(append(args, "sample", "--"), c.args...)
	return d.execute(ctx, c)
}

// fill creates the fixture in both volumes, and records their contents.
func (d *demo) fill(ctx context.Context) error {
	if err := d.sendFixture(ctx); err != nil {
		return err
	}
	for _, v := range volumes() {
		c := call{args: []string{fixtureProgram, "create", v.mount}, stdout: &bytes.Buffer{}}
		if err := d.inPod(ctx, c); err != nil {
			return err
		}
		entries, err := d.record(ctx, v, "before")
		if err != nil {
			return err
		}
		result := fixture.Compare(entries, entries, fixture.Options{})
		d.note("%-16s %s", v.name+":", describe(result))
		d.content += result.Bytes
		d.entries += len(entries)
	}
	return nil
}

// record writes a manifest of the volume in the pod to a file on this machine.
func (d *demo) record(ctx context.Context, v volume, when string) ([]fixture.Entry, error) {
	name := d.manifest(v, when)
	file, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("recording volume %s: %w", v.name, err)
	}
	err = d.inPod(ctx, call{args: []string{fixtureProgram, "record", v.mount}, stdout: file})
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	return fixture.Load(name)
}

func (d *demo) manifest(v volume, when string) string {
	return filepath.Join(d.private, v.name+"-"+when)
}

// compare reads both volumes again and prints the first differences. It fails if there are any.
func (d *demo) compare(ctx context.Context) error {
	if err := d.sendFixture(ctx); err != nil {
		return err
	}
	different := 0
	for _, v := range volumes() {
		before, err := fixture.Load(d.manifest(v, "before"))
		if err != nil {
			return err
		}
		after, err := d.record(ctx, v, "after")
		if err != nil {
			return err
		}
		result := fixture.Compare(before, after, fixture.Options{})
		d.note("%-16s %s: %d differences", v.name+":", describe(result), len(result.Differences))
		for i, difference := range result.Differences {
			if i == 20 {
				d.note("… and %d more", len(result.Differences)-i)
				break
			}
			d.note("  %s", difference)
		}
		different += len(result.Differences)
	}
	if different > 0 {
		return fmt.Errorf("the restored volumes have %d differences from the original", different)
	}
	return nil
}

func describe(result fixture.Result) string {
	kinds := []struct {
		kind fixture.Kind
		name string
	}{
		{fixture.Regular, "files"},
		{fixture.Directory, "directories"},
		{fixture.Symlink, "symbolic links"},
		{fixture.FIFO, "FIFO"},
	}
	var parts []string
	for _, k := range kinds {
		parts = append(parts, fmt.Sprintf("%d %s", result.Counts[k.kind], k.name))
	}
	return strings.Join(parts, ", ") + ", " + size(result.Bytes)
}

// addSizes adds file sizes by the first folder of each path.
func addSizes(root fs.FS, sizes map[string]int64) error {
	return fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the gateway removes its temporary files in the meantime
		}
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(path, "/")
		sizes[first] += info.Size()
		return nil
	})
}
