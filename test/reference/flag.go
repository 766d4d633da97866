// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package reference

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Agent returns the page about the flags of the agent's command.
func Agent(flags *pflag.FlagSet) string {
	return header("Flags of the agent", "agent/options.go",
		"They go into `spec.template.spec.containers[0].args` of DaemonSet `restic`. A duration is a number with a "+
			"unit: `30s`, `5m`, `24h`.") + flagTable(flags)
}

// CLI returns the page about a program and its commands. Flags that all commands have are listed once.
func CLI(root *cobra.Command) string {
	var out strings.Builder
	out.WriteString(header("Command line reference", "the commands in cli",
		"What each command of `"+root.Name()+"` prints with `--help`. How to use them: [command line](../cli.md)."))
	out.WriteString("\n" + fenced(long(root)))
	out.WriteString("\n## Flags of every command\n" + flagTable(root.PersistentFlags()))
	writeCommands(&out, root)
	return out.String()
}

func writeCommands(out *strings.Builder, parent *cobra.Command) {
	for _, command := range parent.Commands() {
		if !command.IsAvailableCommand() || command.IsAdditionalHelpTopicCommand() {
			continue
		}
		if command.Runnable() {
			writeCommand(out, command)
		}
		writeCommands(out, command)
	}
}

func writeCommand(out *strings.Builder, command *cobra.Command) {
	out.WriteString("\n## " + command.CommandPath() + "\n\n" + fenced(command.UseLine()+"\n\n"+long(command)))
	if command.Example != "" {
		out.WriteString("\nExamples:\n\n" + fenced(command.Example))
	}
	if flags := command.NonInheritedFlags(); flags.HasAvailableFlags() {
		out.WriteString(flagTable(flags))
	}
}

// long returns the long description of a command, or the short one if it has no other.
func long(command *cobra.Command) string {
	if command.Long != "" {
		return command.Long
	}
	return command.Short
}

func fenced(text string) string { return "```text\n" + strings.Trim(text, "\n") + "\n```\n" }

// flagTable lists flags in the order of their names.
func flagTable(flags *pflag.FlagSet) string {
	var rows [][]string
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden || flag.Name == "help" {
			return
		}
		kind, usage := pflag.UnquoteUsage(flag)
		name := "--" + flag.Name
		if flag.Shorthand != "" {
			name += ", -" + flag.Shorthand
		}
		rows = append(rows, []string{code(name), kind, code(defaultOf(flag)), sentence(usage)})
	})
	return table([]string{"flag", "value", "default", "meaning"}, rows)
}

// defaultOf returns the default of a flag; empty if it has none.
func defaultOf(flag *pflag.Flag) string {
	switch value := strings.Trim(flag.DefValue, "[]"); value {
	case "<nil>", "<none>": // what some types of flags print for no value
		return ""
	default:
		return value
	}
}
