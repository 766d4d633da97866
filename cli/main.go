// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Command velero-restic is the command line for restic with Velero: it shows repositories and which claims are
// protected, requests checks and prunes, and follows backups and restores. It is also the kubectl plugin
// kubectl-velero_restic.
package main

import (
	"cmp"
	"context"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
)

// defaultNamespace is Velero's default (velero v1.18.3, pkg/apis/velero/v1/constants.go, DefaultNamespace).
const defaultNamespace = "velero"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal kills the process
	// Libraries must not log to the terminal; commands return their errors.
	klog.SetOutput(io.Discard)
	klog.LogToStderr(false)
	ctrl.SetLogger(klog.Background())

	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	namespace := cmp.Or(os.Getenv("VELERO_NAMESPACE"), defaultNamespace)
	env := command.NewEnvironment(streams, screen(os.Stdout), namespace)
	env.ErrColor = screen(os.Stderr).Color
	program, args := calledBy(os.Args[0]), os.Args[1:]
	if program.completes {
		args = append([]string{cobra.ShellCompRequestCmd}, args...)
	}
	env.Program = program.name
	code := command.Execute(ctx, env, newRoot(env), args)
	stop()
	os.Exit(int(code))
}

// call is how the user called the program.
type call struct {
	// name is what the user typed.
	name string
	// completes is true if kubectl requests completion.
	completes bool
}

// calledBy parses the program's path. kubectl finds plugins by the names kubectl-velero_restic and
// kubectl_complete-velero_restic (kubectl v1.36, pkg/cmd/plugin.go and pkg/util/completion).
func calledBy(path string) call {
	name := strings.TrimSuffix(filepath.Base(path), ".exe")
	plugin, completes := strings.CutPrefix(name, "kubectl_complete-")
	found := completes
	if !completes {
		plugin, found = strings.CutPrefix(name, "kubectl-")
	}
	if !found {
		return call{name: command.Program}
	}
	return call{name: "kubectl " + strings.ReplaceAll(plugin, "_", "-"), completes: completes}
}

// screen returns the capabilities of a stream. It honors https://no-color.org. Older consoles of Windows print escape
// sequences as text.
func screen(out *os.File) command.Screen {
	descriptor := int(out.Fd())
	terminal := term.IsTerminal(descriptor)
	old := runtime.GOOS == "windows" && os.Getenv("WT_SESSION") == ""
	return command.Screen{
		Terminal: terminal && os.Getenv("TERM") != "dumb" && !old,
		Color:    terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && !old,
		Size: func() (columns, rows int) {
			columns, rows, err := term.GetSize(descriptor)
			if err != nil {
				return 0, 0
			}
			return columns, rows
		},
	}
}
