// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/velero-restic/velero-plugin-for-restic/cli/display"
)

// Execute runs the command line, prints an error to standard error, and returns the exit code.
func Execute(ctx context.Context, env *Environment, root *cobra.Command, args []string) ExitCode {
	running := false
	prepare(env, root, &running)
	root.SetArgs(args)
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.ErrOut)
	used, err := root.ExecuteContextC(ctx)
	if err == nil {
		return ExitOK
	}
	var end *Error
	if !running && !errors.As(err, &end) {
		err = UsageError(err)
	}
	if CodeOf(err) == ExitUsage {
		env.printError(err.Error(), fmt.Sprintf("see '%s --help'", used.CommandPath()))
		return ExitUsage
	}
	code, message, next := env.explain(err)
	env.printError(message, next)
	return code
}

// printError prints the error on one line, and what to do next on one or more lines. Either may be empty.
func (e *Environment) printError(message, next string) {
	if message != "" {
		fmt.Fprintln(e.ErrOut, "error:", display.Line(message))
	}
	if next == "" {
		return
	}
	lines := strings.Split(next, "\n")
	for i := range lines {
		lines[i] = display.Line(lines[i])
	}
	fmt.Fprintln(e.ErrOut, "next: ", strings.Join(lines, "\n       "))
}

// prepare replaces the program's name in texts by the name that the user called, and sets running when a command
// starts: an earlier error is a usage error.
func prepare(env *Environment, command *cobra.Command, running *bool) {
	if !command.HasParent() {
		command.SilenceErrors, command.SilenceUsage = true, true
		command.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: env.Program}
	}
	command.DisableFlagsInUseLine = command.HasSubCommands()
	for _, text := range []*string{&command.Example, &command.Long} {
		*text = strings.ReplaceAll(*text, Program+" ", env.Program+" ")
	}
	if run := command.RunE; run != nil {
		command.RunE = func(command *cobra.Command, args []string) error {
			*running = true
			return run(command, args)
		}
	}
	for _, sub := range command.Commands() {
		prepare(env, sub, running)
	}
}

// Group adds subcommands to a command. Without arguments, the command prints its help.
func Group(command *cobra.Command, subcommands ...*cobra.Command) *cobra.Command {
	command.AddCommand(subcommands...)
	command.Args = cobra.ArbitraryArgs
	command.SuggestionsMinimumDistance = 2
	command.RunE = func(command *cobra.Command, args []string) error {
		if len(args) == 0 {
			return command.Help()
		}
		text := fmt.Sprintf("there is no command %q", strings.Join([]string{command.CommandPath(), args[0]}, " "))
		if similar := command.SuggestionsFor(args[0]); len(similar) > 0 {
			slices.Sort(similar)
			text += "; did you mean " + strings.Join(similar, " or ") + "?"
		}
		return UsageError(errors.New(text))
	}
	return command
}
