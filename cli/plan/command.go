// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package plan is the command that shows what a backup would include.
package plan

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
	"github.com/velero-restic/velero-plugin-for-restic/internal/inventory"
)

// options are the flags.
type options struct {
	filter
	exitCode bool
	timeout  time.Duration
	output   *command.Output
}

// planner plans a backup: readPreviews, or a test's own function.
type planner func(
	ctx context.Context, env *command.Environment, request inventory.PlanRequest, timeout time.Duration,
) ([]coverage.Preview, error)

// Command returns the command `plan`.
func Command(env *command.Environment) *cobra.Command { return newCommand(env, readPreviews) }

func newCommand(env *command.Environment, plan planner) *cobra.Command {
	o := options{timeout: time.Minute}
	cmd := &cobra.Command{
		Use:   "plan NAMESPACE|NAMESPACE/POD",
		Short: "Show which volumes of pods a backup would include",
		Long: `Show for each volume of the pods of a namespace, or of one pod, whether restic would back it up if a
backup started now, and what selects it: the pod's annotation, a rule, a volume policy, or the backup's default. For a
volume that restic would not back up, the command shows why, what to do, and whether a snapshot or Velero's node-agent
backs it up instead.

It decides in the same way as the plugin. The selecting flags are those of velero backup create; the cluster's defaults
apply to the rest, such as volume policies. The command changes nothing.

Exit codes: 0 success; with --exit-code 3 if a volume is selected and nothing would back it up, also because its pod is
not in the backup, unless a label excludes the pod or the pod has ended; 4 --timeout has passed; 1 failure.`,
		Example: `  # What a backup would include now
  velero-restic plan foo

  # One pod, with all volumes except for those that it excludes
  velero-restic plan foo/sample --default-volumes-to-fs-backup

  # The next backup of a schedule; in a script, fail if a selected volume would not be backed up
  velero-restic plan foo --from-schedule NIGHTLY --exit-code`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return command.UsageError(fmt.Errorf("it takes one argument, NAMESPACE or NAMESPACE/POD, and got %d",
					len(args)))
			}
			return nil
		},
		ValidArgsFunction: env.CompleteNamespaces(false),
	}
	o.output = command.AddOutput(cmd, command.FormatTable, command.FormatWide, command.FormatJSON, command.FormatYAML)
	flags := cmd.Flags()
	o.addFlags(flags)
	flags.BoolVar(&o.exitCode, "exit-code", o.exitCode,
		"return exit code 3 if a selected volume would not be backed up")
	flags.DurationVar(&o.timeout, "timeout", o.timeout, "how long the command may take")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		request, err := o.request(args[0])
		if err != nil {
			return err
		}
		return o.run(cmd.Context(), env, plan, request)
	}
	return cmd
}

// readPreviews plans the backup with the current cluster state.
func readPreviews(
	ctx context.Context, env *command.Environment, request inventory.PlanRequest, timeout time.Duration,
) (previews []coverage.Preview, err error) {
	create := func(context.Context) (*inventory.Inventory, error) {
		config, err := env.Config()
		if err != nil {
			return nil, err
		}
		return inventory.New(config, inventory.Options{Namespace: env.Namespace(), Log: logr.Discard()})
	}
	err = command.WithInventory(ctx, env, timeout, create, func(ctx context.Context, i *inventory.Inventory) error {
		previews, err = i.Plan(ctx, request)
		return err
	})
	return previews, err
}

func (o *options) run(
	ctx context.Context, env *command.Environment, plan planner, request inventory.PlanRequest,
) error {
	if err := command.CheckTimeout(o.timeout); err != nil {
		return err
	}
	previews, err := plan(ctx, env, request, o.timeout)
	if errors.Is(err, inventory.ErrNotFound) {
		return command.NewError(err, "kubectl get namespaces; kubectl -n "+request.Namespace+" get pods; kubectl -n "+
			env.Namespace()+" get schedules.velero.io")
	}
	if err != nil {
		return err
	}
	report := newReport(previews, o.output.Format != command.FormatTable)
	if err := o.print(env, request, report); err != nil {
		return err
	}
	if o.exitCode && report.Summary.Missed > 0 {
		return &command.Error{Code: command.ExitProblemFound}
	}
	return nil
}

func (o *options) print(env *command.Environment, request inventory.PlanRequest, report Report) error {
	if o.output.Object() {
		return o.output.PrintValue(env, report)
	}
	if len(report.Pods) == 0 {
		fmt.Fprintf(env.Out, "There are no pods in namespace %s.\n", request.Namespace)
		return nil
	}
	table := report.table(o.output.Format == command.FormatWide)
	if err := table.Write(env.Out, env.Palette()); err != nil {
		return err
	}
	fmt.Fprintf(env.Out, "\n%s\n", report.Summary)
	return nil
}
