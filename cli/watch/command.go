// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package watch shows the progress of a Velero backup or restore: a bar for each volume on a terminal, lines elsewhere.
// Package board decides what to show; this package reads the cluster and draws.
package watch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/cli/watch/board"
)

// options are the flags.
type options struct {
	plain    bool
	timeout  time.Duration
	interval time.Duration
}

// Backup returns the command `backup`.
func Backup(env *command.Environment) *cobra.Command {
	return command.Group(&cobra.Command{
		Use:   "backup",
		Short: "Follow backups",
		Long: `Follow running backups. To create, describe and delete backups, use Velero's own command,
velero backup.`,
	}, newCommand(env, backups()))
}

// Restore returns the command `restore`.
func Restore(env *command.Environment) *cobra.Command {
	return command.Group(&cobra.Command{
		Use:   "restore",
		Short: "Follow restores",
		Long: `Follow running restores. To create, describe and delete restores, use Velero's own command,
velero restore.`,
	}, newCommand(env, restores()))
}

func newCommand(env *command.Environment, k kind) *cobra.Command {
	o := options{interval: 10 * time.Second}
	cmd := &cobra.Command{
		Use:   "watch NAME",
		Short: "Show each volume of a " + k.name + " while it runs",
		Long: fmt.Sprintf(`Show each volume of a %[1]s while it runs: how much of it is done, how fast it is, how long
it will take, and what it waits for. The command ends with the %[1]s, and prints the result of each volume. If the
%[1]s has already ended, it prints the result immediately.

On a terminal, the command redraws the progress in place; the last line counts volumes that do not fit. Elsewhere, and
with --plain, it prints a line for each change, and the progress every ten seconds.

Ctrl-C and --timeout stop the command, and not the %[1]s.

Exit codes: 0 the %[1]s is Completed; 3 it is not, or a volume failed; 4 --timeout has passed; 1 the %[1]s does not
exist, or the API server did not answer for more than three minutes.`, k.name),
		Example: fmt.Sprintf(`  # Follow a %[1]s
  velero-restic %[1]s watch NAME

  # In a script: at most an hour, and lines for the log
  velero-restic %[1]s watch NAME --plain --timeout 1h`, k.name),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return command.UsageError(fmt.Errorf("it takes the name of one %s, and there are "+
					"%d", k.name, len(args)))
			}
			return nil
		},
		ValidArgsFunction: env.CompleteNames(false, k.operations),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), env, k, args[0])
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.plain, "plain", o.plain, "print lines, even on a terminal")
	flags.DurationVar(&o.timeout, "timeout", o.timeout, "stop after this time, with exit code 4; 0: never")
	flags.DurationVar(&o.interval, "interval", o.interval, "time between two lines of progress")
	return cmd
}

func (o options) run(ctx context.Context, env *command.Environment, k kind, name string) error {
	switch {
	case o.timeout < 0:
		return command.UsageError(errors.New("--timeout must not be negative"))
	case o.interval <= 0:
		return command.UsageError(errors.New("--interval must be more than 0"))
	}
	c, err := env.Client()
	if err != nil {
		return err
	}
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = command.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	s := &session{
		kind: k, namespace: env.Namespace(), name: name, client: c, clock: env.Clock, board: board.New(),
		program: env.Program, objects: map[string]client.Object{},
	}
	s.view = &lineView{
		board: s.board, journal: board.NewJournal(), out: env.Out, err: env.ErrOut, every: o.interval,
	}
	if env.Screen.Terminal && !o.plain {
		s.view = &screenView{
			board: s.board, out: env.Out, err: env.ErrOut, size: env.Screen.Size, palette: env.Palette(),
		}
	}
	return s.run(ctx)
}
