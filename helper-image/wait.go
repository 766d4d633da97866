// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// errNoVolume says that there is nothing to wait for. That is never taken for done: the pod would start empty.
var errNoVolume = errors.New("no volume is mounted")

// watch is what to wait for and how often to look.
type watch struct {
	root, restoreUID string
	output           io.Writer
	poll, report     <-chan time.Time
}

// wait returns nil once every folder directly in the root has its done marker. It returns errNoVolume without any, a
// message with the volume's name and reason as soon as one has a failed marker, and the context's cause, with the names
// of the volumes that are still missing, when it ends.
func wait(ctx context.Context, w watch) error {
	names, err := listVolumes(w.root)
	if err != nil {
		return err
	}
	volumes := make([]*volume, 0, len(names))
	for _, name := range names {
		volumes = append(volumes, &volume{name: name, dir: filepath.Join(w.root, name)})
	}
	defer func() {
		for _, v := range volumes {
			v.close()
		}
	}()
	fmt.Fprintf(w.output, "waiting for %d volumes of restore %s: %s\n",
		len(names), w.restoreUID, strings.Join(names, ", "))
	for pending := volumes; ; {
		if pending, err = w.look(pending); err != nil || len(pending) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return w.unfinished(context.Cause(ctx), pending)
		case <-w.report:
			fmt.Fprintln(w.output, "still waiting for", describe(pending))
		case <-w.poll:
		}
	}
}

func listVolumes(root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("%w: reading %s: %w", errNoVolume, root, err)
	}
	var volumes []string
	for _, entry := range entries {
		if entry.IsDir() {
			volumes = append(volumes, entry.Name())
		}
	}
	if len(volumes) == 0 {
		return nil, fmt.Errorf("%w in %s: the init container needs a mount for every volume to wait for",
			errNoVolume, root)
	}
	return volumes, nil
}

// look returns the volumes that are not done yet, and an error as soon as one failed.
func (w watch) look(pending []*volume) ([]*volume, error) {
	var remaining []*volume
	for i, v := range pending {
		done, err := v.examine(w.restoreUID)
		if err != nil {
			return pending, fmt.Errorf("volume %s was not restored: %w", v.name, err)
		}
		if !done {
			remaining = append(remaining, v)
			continue
		}
		fmt.Fprintf(w.output, "volume %s is restored, %d to go\n", v.name, len(remaining)+len(pending)-i-1)
	}
	return remaining, nil
}

func (w watch) unfinished(cause error, pending []*volume) error {
	return fmt.Errorf("%w, still waiting for %s; to see why: "+
		"kubectl -n <Velero's namespace> get podvolumerestores -l %s=%s",
		cause, describe(pending), contract.LabelRestoreUID, w.restoreUID)
}

func describe(pending []*volume) string {
	var parts []string
	for _, v := range pending {
		parts = append(parts, fmt.Sprintf("%s (%s)", v.name, printable(v.reason, 200)))
	}
	return strings.Join(parts, ", ")
}

// volume is one folder that is waited for.
type volume struct {
	name, dir string
	// reason is why it is not done yet, as of the last look.
	reason string
	// markers is the marker folder. It stays open from the first moment that it can be: the restore may bring back an
	// owner and a mode of the volume that keep the helper's user out, but not out of what is open already.
	markers *os.Root
}

func (v *volume) close() {
	if v.markers != nil {
		_ = v.markers.Close() // read only: nothing can be lost
	}
}

// examine says whether the volume is done. An error is what its failed marker says.
//
// What is in a volume is a stranger's. os.Root keeps every path inside of it, and only a real folder and regular files
// count: a symbolic link or a FIFO with the marker's name is not a marker.
func (v *volume) examine(restoreUID string) (bool, error) {
	if err := v.open(); err != nil {
		v.reason = unreadable(err)
		if v.markers == nil || !errors.Is(err, fs.ErrPermission) {
			return false, nil
		}
	}
	failed, done := path.Base(contract.FailedMarker(restoreUID)), path.Base(contract.DoneMarker(restoreUID))
	switch err := marker(v.markers, failed); {
	case err == nil:
		return false, failure(v.markers, failed)
	case !errors.Is(err, errNotDone):
		v.reason = unreadable(err)
		return false, nil
	}
	if err := marker(v.markers, done); err != nil {
		v.reason = unreadable(err)
		return false, nil
	}
	return true, nil
}

// errNotDone is the ordinary reason to go on waiting.
var errNotDone = errors.New("not done yet")

// open opens the marker folder anew, since the agent may have replaced it since the last look.
func (v *volume) open() error {
	root, err := os.OpenRoot(v.dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // read only: nothing can be lost
	info, err := root.Lstat(contract.MarkerDir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errNotDone
	case err != nil:
		return err
	case !info.IsDir():
		return errors.New(contract.MarkerDir + " in the volume is not a folder: remove it")
	}
	markers, err := root.OpenRoot(contract.MarkerDir)
	if err != nil {
		return err
	}
	v.close()
	v.markers = markers
	return nil
}

// unreadable explains the one case that people meet: a volume whose owner keeps others out.
func unreadable(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Sprintf("user %d may not look into the volume: %v", os.Geteuid(), err)
	}
	return err.Error()
}

// marker returns nil if the marker is there and errNotDone if it is not.
func marker(markers *os.Root, name string) error {
	info, err := markers.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errNotDone
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return errors.New(path.Join(contract.MarkerDir, name) + " is not a regular file: remove it")
	}
	return nil
}

// failure reads why, as far as it can: that the marker is there is enough to know that the data is not.
func failure(markers *os.Root, name string) error {
	// Non-blocking, since what Lstat saw may have become a FIFO.
	file, err := markers.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("reading the reason: %w", err)
	}
	defer func() { _ = file.Close() }() // read only: nothing can be lost
	text, err := io.ReadAll(io.LimitReader(file, contract.MarkerReasonMax))
	if err != nil {
		return fmt.Errorf("reading the reason: %w", err)
	}
	if reason := printable(string(text), contract.MarkerReasonMax); reason != "" {
		return errors.New(reason)
	}
	return errors.New("the agent gave no reason; its log has more")
}
