// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package terminal gives a program a real terminal, that of tmux, and takes pictures of it.
package terminal

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Terminal is one that a program runs in.
type Terminal struct {
	socket string
}

// Options say what the terminal is like and what runs in it.
type Options struct {
	// Folder is for the terminal's socket; it must have a short name and be the caller's own.
	Folder string
	// Columns and Rows are its size.
	Columns, Rows int
	// Script is what a shell in it runs. When that ends, the terminal stays as it is.
	Script string
	// Env are further variables, NAME=VALUE.
	Env []string
}

// Start opens a terminal. It stays until Close.
func Start(ctx context.Context, options Options) (*Terminal, error) {
	t := &Terminal{socket: filepath.Join(options.Folder, "tmux")}
	args := []string{
		"new-session", "-d", "-x", strconv.Itoa(options.Columns), "-y", strconv.Itoa(options.Rows),
	}
	for _, variable := range options.Env {
		args = append(args, "-e", variable)
	}
	// Without the status line the program has all the rows. The shell outlives Ctrl-C and waits for
	// ever; Close ends it.
	script := "trap : INT\n" + options.Script + "\nexec sleep infinity"
	args = append(args, "sh", "-c", script, ";", "set-option", "-g", "status", "off")
	if _, err := t.run(ctx, args...); err != nil {
		return nil, err
	}
	return t, nil
}

// run asks tmux, without anybody's configuration.
func (t *Terminal) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "tmux", append([]string{"-u", "-f", os.DevNull, "-S", t.socket}, args...)...)
	cmd.Env = append(os.Environ(), "TMUX=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("tmux %s: %w: %s", args[0], err, out)
	}
	return string(out), nil
}

// Text returns what is on the screen now, without the empty lines at its end.
func (t *Terminal) Text(ctx context.Context) (string, error) {
	text, err := t.run(ctx, "capture-pane", "-p")
	return strings.TrimRight(text, "\n"), err
}

// Styled returns the same with colors and other attributes, as SGR sequences of ECMA-48.
func (t *Terminal) Styled(ctx context.Context) (string, error) {
	text, err := t.run(ctx, "capture-pane", "-p", "-e")
	return strings.TrimRight(text, "\n"), err
}

// Cursor says whether the cursor is to be seen.
func (t *Terminal) Cursor(ctx context.Context) (bool, error) {
	text, err := t.run(ctx, "display-message", "-p", "#{cursor_flag}")
	return strings.TrimSpace(text) == "1", err
}

// Resize gives the terminal another size.
func (t *Terminal) Resize(ctx context.Context, columns, rows int) error {
	_, err := t.run(ctx, "resize-window", "-x", strconv.Itoa(columns), "-y", strconv.Itoa(rows))
	return err
}

// Press types a key, by tmux' name for it, such as C-c.
func (t *Terminal) Press(ctx context.Context, key string) error {
	_, err := t.run(ctx, "send-keys", key)
	return err
}

// Close ends what runs in the terminal.
func (t *Terminal) Close(ctx context.Context) error {
	_, err := t.run(ctx, "kill-server")
	return err
}
