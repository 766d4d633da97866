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
	volumes, err := listVolumes(w.root)
	if err != nil {
		return err
	}
	pending := make(map[string]string, len(volumes)) // volume -> why it is not done
	for _, volume := range volumes {
		pending[volume] = ""
	}
	fmt.Fprintf(w.output, "waiting for %d volumes of restore %s: %s\n",
		len(volumes), w.restoreUID, strings.Join(volumes, ", "))
	for {
		if err := w.look(volumes, pending); err != nil || len(pending) == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return w.unfinished(context.Cause(ctx), volumes, pending)
		case <-w.report:
			fmt.Fprintln(w.output, "still waiting for", describe(volumes, pending))
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

// look takes the volumes that are done out of pending, and stops at one that failed.
func (w watch) look(volumes []string, pending map[string]string) error {
	for _, volume := range volumes {
		if _, ok := pending[volume]; !ok {
			continue
		}
		reason, err := examine(filepath.Join(w.root, volume), w.restoreUID)
		if err != nil {
			return fmt.Errorf("volume %s was not restored: %w", volume, err)
		}
		if reason != "" {
			pending[volume] = reason
			continue
		}
		delete(pending, volume)
		fmt.Fprintf(w.output, "volume %s is restored, %d to go\n", volume, len(pending))
	}
	return nil
}

func (w watch) unfinished(cause error, volumes []string, pending map[string]string) error {
	return fmt.Errorf("%w, still waiting for %s; to see why: "+
		"kubectl -n <Velero's namespace> get podvolumerestores -l %s=%s",
		cause, describe(volumes, pending), contract.LabelRestoreUID, w.restoreUID)
}

func describe(volumes []string, pending map[string]string) string {
	var parts []string
	for _, volume := range volumes {
		if reason, ok := pending[volume]; ok {
			parts = append(parts, fmt.Sprintf("%s (%s)", volume, printable(reason, 200)))
		}
	}
	return strings.Join(parts, ", ")
}

// examine returns an empty reason for a volume that is done, else why it is not yet. An error is what its failed marker
// says.
//
// What is in a volume is a stranger's. os.Root keeps every path inside of it, and only a real folder and regular files
// count: a symbolic link or a FIFO with the marker's name is not a marker.
func examine(dir, restoreUID string) (string, error) {
	volume, err := os.OpenRoot(dir)
	if err != nil {
		return unreadable(err), nil
	}
	defer volume.Close()
	info, err := volume.Lstat(contract.MarkerDir)
	if errors.Is(err, fs.ErrNotExist) {
		return "not done yet", nil
	}
	if err != nil {
		return unreadable(err), nil
	}
	if !info.IsDir() {
		return contract.MarkerDir + " in the volume is not a folder: remove it", nil
	}
	markers, err := volume.OpenRoot(contract.MarkerDir)
	if err != nil {
		return unreadable(err), nil
	}
	defer markers.Close()
	if found, _, err := marker(markers, path.Base(contract.FailedMarker(restoreUID))); err == nil && found {
		return "", failure(markers, path.Base(contract.FailedMarker(restoreUID)))
	}
	found, reason, err := marker(markers, path.Base(contract.DoneMarker(restoreUID)))
	if err != nil {
		return unreadable(err), nil
	}
	if found {
		return "", nil
	}
	return reason, nil
}

// unreadable explains the one case that people meet: a volume whose owner keeps others out.
func unreadable(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Sprintf("user %d may not look into the volume: %v", os.Getuid(), err)
	}
	return err.Error()
}

func marker(markers *os.Root, name string) (found bool, reason string, err error) {
	info, err := markers.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, "not done yet", nil
	case err != nil:
		return false, "", err
	case !info.Mode().IsRegular():
		return false, path.Join(contract.MarkerDir, name) + " is not a regular file: remove it", nil
	}
	return true, "", nil
}

// failure reads why, as far as it can: that the marker is there is enough to know that the data is not.
func failure(markers *os.Root, name string) error {
	// Non-blocking, since what Lstat saw may have become a FIFO.
	file, err := markers.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("reading the reason: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, contract.MarkerReasonMax))
	if err != nil {
		return fmt.Errorf("reading the reason: %w", err)
	}
	if reason := printable(string(text), contract.MarkerReasonMax); reason != "" {
		return errors.New(reason)
	}
	return errors.New("the agent gave no reason; its log has more")
}
