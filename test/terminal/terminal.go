// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package terminal runs a program in a real terminal, that of tmux, and captures its contents.
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

// Terminal is a terminal in which a program runs.
type Terminal struct {
	socket string
}

// Options describe the terminal and what runs in it.
type Options struct {
	// Folder is the directory of the terminal's socket. Its path must be short, and only the caller may use it.
	Folder string
	// Columns and Rows are the size of the terminal.
	Columns, Rows int
	// Script is the script that a shell in the terminal runs. The terminal stays open when the script ends.
	Script string
	// Env has additional variables, NAME=VALUE.
	Env []string
}

// Start opens a terminal, which stays open until Close. It fails if tmux does.
func Start(ctx context.Context, options Options) (*Terminal, error) {
	t := &Terminal{socket: filepath.Join(options.Folder, "tmux")}
	args := []string{
		"new-session", "-d", "-x", strconv.Itoa(options.Columns), "-y", strconv.Itoa(options.Rows),
	}
	for _, variable := range options.Env {
		args = append(args, "-e", variable)
	}
	// Without the status line, the program has all rows. The shell ignores Ctrl-C and waits until Close ends it.
	script := "trap : INT\n" + options.Script + "\nexec sleep infinity"
	args = append(args, "sh", "-c", script, ";", "set-option", "-g", "status", "off")
	if _, err := t.run(ctx, args...); err != nil {
		return nil, err
	}
	return t, nil
}

// run runs a tmux command, without the user's configuration.
func (t *Terminal) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "tmux", append([]string{"-u", "-f", os.DevNull, "-S", t.socket}, args...)...)
	cmd.Env = append(os.Environ(), "TMUX=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("tmux %s: %w: %s", args[0], err, out)
	}
	return string(out), nil
}

// Text returns the contents of the screen, without trailing empty lines.
func (t *Terminal) Text(ctx context.Context) (string, error) {
	text, err := t.run(ctx, "capture-pane", "-p")
	return strings.TrimRight(text, "\n"), err
}

// Styled returns the contents of the screen with colors and other attributes, as SGR sequences of ECMA-48.
func (t *Terminal) Styled(ctx context.Context) (string, error) {
	text, err := t.run(ctx, "capture-pane", "-p", "-e")
	return strings.TrimRight(text, "\n"), err
}

// Cursor returns whether the cursor is visible.
func (t *Terminal) Cursor(ctx context.Context) (bool, error) {
	text, err := t.run(ctx, "display-message", "-p", "#{cursor_flag}")
	return strings.TrimSpace(text) == "1", err
}

// Resize changes the size of the terminal.
func (t *Terminal) Resize(ctx context.Context, columns, rows int) error {
	_, err := t.run(ctx, "resize-window", "-x", strconv.Itoa(columns), "-y", strconv.Itoa(rows))
	return err
}

// Press presses a key. The name of the key is that of tmux, such as C-c.
func (t *Terminal) Press(ctx context.Context, key string) error {
	_, err := t.run(ctx, "send-keys", key)
	return err
}

// Close ends the program and closes the terminal.
func (t *Terminal) Close(ctx context.Context) error {
	_, err := t.run(ctx, "kill-server")
	return err
}
