// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/test/terminal"
)

// updateImages has the tests write the images of the documentation.
var updateImages = flag.Bool("update-images", false, "write docs/images")

const (
	// imageColumns and imageRows are the size of the terminal in the images of the documentation.
	imageColumns, imageRows = 100, 14
	// screenLimit is how long a terminal may take to show something.
	screenLimit = time.Minute
)

// createShop creates pods with volumes that restic reads for some seconds, and one that cannot be backed up.
func (ns *testNamespace) createShop() {
	ns.t.Helper()
	host := corev1.Volume{Name: "host", VolumeSource: corev1.VolumeSource{
		HostPath: &corev1.HostPathVolumeSource{Path: "/tmp"},
	}}
	apply(ns.t, ns.claim("orders"))
	apply(ns.t, ns.pod("db-0", "orders,journal", claimVolume("orders"), emptyDir("journal")))
	apply(ns.t, ns.pod("web-0", "uploads,cache,host", emptyDir("uploads"), emptyDir("cache"), host))
	for pod, script := range map[string]string{
		"db-0":  "truncate -s 2G /orders/table; head -c 3145728 /dev/urandom > /journal/log",
		"web-0": "truncate -s 2G /uploads/video; truncate -s 200M /cache/index",
	} {
		ns.waitReady(pod)
		ns.shell(pod, script)
	}
}

// openTerminal runs a script in a terminal.
func openTerminal(t *testing.T, columns, rows int, script string) *terminal.Terminal {
	t.Helper()
	folder, err := os.MkdirTemp("", "term") //nolint:usetesting // the name of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	term, err := terminal.Start(t.Context(), terminal.Options{
		Folder: folder, Columns: columns, Rows: rows, Env: cliEnv(t),
		// The shell of tmux sets a PATH of its own.
		Script: "PATH=" + filepath.Dir(suite.program) + ":$PATH\n" + script,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = term.Close(context.WithoutCancel(t.Context())) })
	return term
}

// waitScreen waits until each expression matches the screen, and returns its text, without and with colors.
func waitScreen(
	t *testing.T, term *terminal.Terminal, limit time.Duration, expressions ...string,
) (text, styled string) {
	t.Helper()
	eventually(t, limit, "the terminal showing "+strings.Join(expressions, " and "), func() error {
		// The screen changes between two reads, so both results come from one.
		var err error
		if styled, err = term.Styled(t.Context()); err != nil {
			return err
		}
		text = colorCode.ReplaceAllString(styled, "")
		for _, expression := range expressions {
			if !regexp.MustCompile("(?m)" + expression).MatchString(text) {
				return fmt.Errorf("%s does not match the screen:\n%s", expression, text)
			}
		}
		return nil
	})
	return text, styled
}

// wantWidth wants no line wider than the terminal.
func wantWidth(t *testing.T, text string, columns int) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		if len([]rune(line)) > columns {
			t.Errorf("a line is wider than %d columns: %q", columns, line)
		}
	}
}

// writeImage writes an image of the documentation, if -update-images asks for it.
func writeImage(t *testing.T, file, styled, what string) {
	t.Helper()
	if !*updateImages {
		return
	}
	path := filepath.Join(suite.repository, "docs", "images", file)
	if err := os.WriteFile(path, []byte(terminal.SVG(styled, imageColumns, what)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestWatch watches a backup in a terminal while restic reads, and its restore through a pipe.
func TestWatch(t *testing.T) {
	shareCluster(t)
	ns := newNamespace(t, "shop", 2)
	ns.createShop()
	veleroCLI(t, "backup", "create", "shop", "--include-namespaces=shop")

	const command = "velero-restic backup watch shop"
	term := openTerminal(t, imageColumns, imageRows, "echo '$ "+command+"'; "+command+"; echo exit code $?")
	narrow := openTerminal(t, 40, imageRows, command+" --no-color")
	stopped := openTerminal(t, 80, 24, command+"; echo exit code $?")
	running := `^shop/(db-0/orders|web-0/uploads) +\[=*> *\] +\d+% +[\d.]+/2\.0 GiB +[\d.]+ MiB/s +(\d+m)?\d+s left$`
	want := []string{`^backup shop  \w+  \d+s so far  deadline in 3h59m`, `^\d volumes: .*\d running`, running}
	if *updateImages {
		want = append(want, `left\n.*left$`) // two running volumes look better
	}
	text, styled := waitScreen(t, term, screenLimit, want...)
	t.Logf("while the backup runs:\n%s", text)
	wantWidth(t, text, imageColumns)
	writeImage(t, "backup-watch.svg", styled, "velero-restic backup watch, while a backup runs")

	small, _ := waitScreen(t, narrow, screenLimit, `^shop/(db-0/orders|web-0/uploads) +[\d.]+/2\.0 GiB$`,
		`^\[=*> *\] +\d+% +[\d.]+ MiB/s`)
	t.Logf("with 40 columns:\n%s", small)
	wantWidth(t, small, 40)
	if err := narrow.Resize(t.Context(), 30, 8); err != nil {
		t.Error(err)
	}
	waitScreen(t, narrow, screenLimit, `^backup shop`, `^\.\.\. and \d more: `)
	if err := stopped.Press(t.Context(), "C-c"); err != nil {
		t.Error(err)
	}
	waitScreen(t, stopped, screenLimit, "the backup continues; to follow it again: velero-restic backup watch",
		"exit code 130")
	if shown, err := stopped.Cursor(t.Context()); !shown {
		t.Errorf("the terminal has no cursor after Ctrl-C (%v)", err)
	}

	backup := waitBackup(t, "shop", operationLimit)
	text, styled = waitScreen(t, term, screenLimit, `^backup shop  Completed  took \d+`,
		`^shop/db-0/orders +Completed  2\.0 GiB in \d+`, `^shop/web-0/host +Skipped  HostPath: `, `^exit code 0$`)
	t.Logf("after the backup:\n%s", text)
	if strings.Count(text, "backup shop") != 1 || strings.Contains(text, "[=") {
		t.Errorf("a part of an earlier screen remains:\n%s", text)
	}
	writeImage(t, "backup-watched.svg", styled, "velero-restic backup watch, after a backup has ended")
	ns.checkWatchOfEndedBackup(backup.Name)
	ns.checkWatchOfRestore()
}

// checkWatchOfEndedBackup watches a backup that has ended, and one that does not exist.
func (ns *testNamespace) checkWatchOfEndedBackup(name string) {
	ns.t.Helper()
	ended := runCLI(ns.t, "backup", "watch", name)
	if ended.code != 0 {
		ns.t.Errorf("watching the ended backup: exit code %d: %s", ended.code, ended.err)
	}
	wantContains(ns.t, "watching the ended backup", ended.out, "backup shop  Completed  took ",
		"shop/web-0/cache    Completed")
	missing := runCLI(ns.t, "backup", "watch", "sh0p")
	if missing.code != 1 {
		ns.t.Errorf("watching a missing backup: exit code %d, want 1", missing.code)
	}
	wantContains(ns.t, "watching a missing backup", missing.err, `there is no backup "sh0p" in namespace velero`, "shop")
}

// checkWatchOfRestore watches a restore through a pipe.
func (ns *testNamespace) checkWatchOfRestore() {
	ns.t.Helper()
	ns.delete()
	veleroCLI(ns.t, "restore", "create", "shop", "--from-backup=shop", "--write-sparse-files")
	ctx, cancel := context.WithTimeout(ns.t.Context(), operationLimit)
	defer cancel()
	pipe := exec.CommandContext(ctx, "sh", "-c", suite.program+" restore watch shop --interval=2s | cat")
	var out, errOut bytes.Buffer
	pipe.Stdout, pipe.Stderr, pipe.Env = &out, &errOut, cliEnv(ns.t)
	if err := pipe.Run(); err != nil {
		ns.t.Errorf("restore watch: %v: %s", err, &errOut)
	}
	wantRestored(ns.t, waitRestore(ns.t, "shop"))
	text := out.String()
	ns.t.Logf("restore watch:\n%s%s", text, &errOut)
	stamp := regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (restore shop|shop/|\d volumes?: )`)
	for line := range strings.Lines(text) {
		if !stamp.MatchString(line) {
			ns.t.Errorf("this line has no time, or no object: %q", line)
		}
	}
	wantContains(ns.t, "restore watch", text, "shop/db-0/orders: InProgress on node ",
		"shop/db-0/orders: Completed: 2.0 GiB in ", "shop/db-0/journal: Completed: 3.0 MiB",
		"restore shop: Completed after ", "4 volumes: 4 done")
}
