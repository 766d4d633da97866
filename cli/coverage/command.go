// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package coverage is the command that shows which PersistentVolumeClaims are protected, and why others are not.
package coverage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
)

// options are the flags.
type options struct {
	unprotected bool
	reasons     []string
	methods     []string
	exitCode    bool
	staleAfter  time.Duration
	timeout     time.Duration
	output      *command.Output
}

// source returns the state of every claim: readStates, or a test's own function.
type source func(
	ctx context.Context, env *command.Environment, staleAfter, timeout time.Duration,
) ([]coverage.State, error)

// Command returns the command `coverage`.
func Command(env *command.Environment) *cobra.Command { return newCommand(env, readStates) }

func newCommand(env *command.Environment, states source) *cobra.Command {
	o := options{timeout: time.Minute}
	cmd := &cobra.Command{
		Use:   "coverage [NAMESPACE...]",
		Short: "Show which claims scheduled backups protect, and why others are not protected",
		Long: `Show for each PersistentVolumeClaim whether scheduled backups include its data, by restic, by a
snapshot or by Velero's node-agent, and whether the last restic backup succeeded and is recent. For a claim that is
not protected, the command shows the reason, and with -o wide a message that explains what to do.

It decides in the same way as the plugin during a backup: by schedules, volume policies, rules, pods and their
annotations as they are now. The agent's metrics have the same result. Arguments are namespaces; without arguments, the
command shows all namespaces. The flag -n is the namespace of Velero. Claims with the annotation
backup.velero.io/backup-excluded=true are ignored.

Exit codes: 0 success; with --exit-code 3 if a listed claim is not protected; 4 --timeout has passed; 1 failure.`,
		Example: `  # All claims
  velero-restic coverage

  # Unprotected claims in two namespaces, with what to do
  velero-restic coverage foo bar --unprotected -o wide

  # In a script: fail if a claim has no backup, or no recent one
  velero-restic coverage --reason NeverSucceeded,Stale --exit-code`,
		ValidArgsFunction: env.CompleteNamespaces(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.run(cmd.Context(), env, states, args)
		},
	}
	o.output = command.AddOutput(cmd, command.FormatTable, command.FormatWide, command.FormatJSON, command.FormatYAML)
	flags := cmd.Flags()
	flags.BoolVar(&o.unprotected, "unprotected", o.unprotected, "only claims that are neither protected nor ignored")
	flags.StringSliceVar(&o.reasons, "reason", nil, "only claims that are not protected for one of these reasons")
	flags.StringSliceVar(&o.methods, "method", nil, "only claims with one of these methods: "+list(methods()))
	flags.BoolVar(&o.exitCode, "exit-code", o.exitCode,
		"return exit code 3 if a listed claim is not protected")
	flags.DurationVar(&o.staleAfter, "stale-after", 0,
		"maximum age of the last success, such as 36h; 0: the agents' setting, or two runs of the schedule")
	flags.DurationVar(&o.timeout, "timeout", o.timeout, "how long the command may take")
	fixed := map[string][]string{"reason": texts(coverage.Reasons()), "method": texts(methods())}
	for name, choices := range fixed {
		complete := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return choices, cobra.ShellCompDirectiveNoFileComp
		}
		_ = cmd.RegisterFlagCompletionFunc(name, complete) // it fails only for an unknown flag
	}
	return cmd
}

func methods() []coverage.Method {
	return []coverage.Method{coverage.MethodRestic, coverage.MethodSnapshot, coverage.MethodNodeAgent}
}

func texts[W ~string](values []W) []string {
	texts := make([]string, 0, len(values))
	for _, value := range values {
		texts = append(texts, string(value))
	}
	return texts
}

func list[W ~string](values []W) string { return strings.Join(texts(values), ", ") }

func (o *options) validate() error {
	if err := command.CheckTimeout(o.timeout); err != nil {
		return err
	}
	if o.staleAfter < 0 {
		return command.UsageError(errors.New("--stale-after must not be negative"))
	}
	for _, reason := range o.reasons {
		if !slices.Contains(coverage.Reasons(), coverage.Reason(reason)) {
			return command.UsageError(fmt.Errorf("--reason: there is no reason %q; there are %s", reason,
				list(coverage.Reasons())))
		}
	}
	for _, method := range o.methods {
		if !slices.Contains(methods(), coverage.Method(method)) {
			return command.UsageError(fmt.Errorf("--method: there is no method %q; there are "+
				"%s", method, list(methods())))
		}
	}
	return nil
}

func (o *options) run(ctx context.Context, env *command.Environment, all source, wanted []string) error {
	if err := o.validate(); err != nil {
		return err
	}
	states, err := all(ctx, env, o.staleAfter, o.timeout)
	if err != nil {
		return err
	}
	bounded, cancel := command.WithTimeout(ctx, o.timeout)
	defer cancel()
	if err := checkNamespaces(bounded, env, states, wanted); err != nil {
		return err
	}
	report := newReport(slices.DeleteFunc(states, func(state coverage.State) bool {
		return !o.chooses(state, wanted)
	}))
	if err := o.print(env, report); err != nil {
		return err
	}
	if o.exitCode && report.Summary.Unprotected > 0 {
		return &command.Error{Code: command.ExitProblemFound}
	}
	return nil
}

// known fails for a namespace without claims that does not exist: a typing error must not look like a good answer.
func checkNamespaces(ctx context.Context, env *command.Environment, states []coverage.State, wanted []string) error {
	for _, name := range wanted {
		if slices.ContainsFunc(states, func(state coverage.State) bool { return state.Namespace == name }) {
			continue
		}
		c, err := env.Client()
		if err != nil {
			return err
		}
		err = c.Get(ctx, client.ObjectKey{Name: name}, &corev1.Namespace{})
		if apierrors.IsNotFound(err) {
			names, err := env.Names(ctx, &corev1.NamespaceList{})
			if err != nil {
				return err
			}
			return command.NotFoundError("namespace", "", name, names)
		}
		if err != nil {
			return fmt.Errorf("reading namespace %s: %w", name, err)
		}
	}
	return nil
}

func (o *options) chooses(state coverage.State, wanted []string) bool {
	switch {
	case len(wanted) > 0 && !slices.Contains(wanted, state.Namespace),
		o.unprotected && (state.Protected || state.Ignored()),
		len(o.reasons) > 0 && !slices.Contains(o.reasons, string(state.Reason)),
		len(o.methods) > 0 && !slices.Contains(o.methods, string(state.Method)):
		return false
	}
	return true
}

func (o *options) print(env *command.Environment, report Report) error {
	if o.output.Object() {
		return o.output.PrintValue(env, report)
	}
	if len(report.Claims) > 0 {
		table := report.table(env.Clock.Now(), o.output.Format == command.FormatWide)
		if err := table.Write(env.Out, env.Palette()); err != nil {
			return err
		}
		fmt.Fprintln(env.Out)
	}
	fmt.Fprintln(env.Out, report.Summary)
	return nil
}
