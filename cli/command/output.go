// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/printers"
)

// Format is the format of the output.
type Format string

// The formats. A command may support only some of them.
const (
	FormatTable Format = "table"
	FormatWide  Format = "wide"
	FormatJSON  Format = "json"
	FormatYAML  Format = "yaml"
)

// Output is the flag --output, -o. It implements pflag.Value.
type Output struct {
	// Format is the selected format. The default is the first allowed one.
	Format  Format
	allowed []Format
}

// AddOutput adds the flag to a command, with the formats that the command supports.
func AddOutput(command *cobra.Command, allowed ...Format) *Output {
	output := &Output{Format: allowed[0], allowed: allowed}
	command.Flags().VarP(output, "output", "o", "output format: "+output.choices())
	complete := func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return strings.Split(output.choices(), ", "), cobra.ShellCompDirectiveNoFileComp
	}
	_ = command.RegisterFlagCompletionFunc("output", complete) // it fails only for an unknown flag
	return output
}

func (o *Output) choices() string {
	names := make([]string, 0, len(o.allowed))
	for _, format := range o.allowed {
		names = append(names, string(format))
	}
	return strings.Join(names, ", ")
}

// String implements pflag.Value.
func (o *Output) String() string { return string(o.Format) }

// Type implements pflag.Value.
func (o *Output) Type() string { return "format" }

// Set implements pflag.Value.
func (o *Output) Set(value string) error {
	if !slices.Contains(o.allowed, Format(value)) {
		return fmt.Errorf("it must be one of %s", o.choices())
	}
	o.Format = Format(value)
	return nil
}

// Object returns whether the format is JSON or YAML.
func (o *Output) Object() bool { return o.Format == FormatJSON || o.Format == FormatYAML }

// Print prints a Kubernetes object in the same way as kubectl.
func (o *Output) Print(env *Environment, object runtime.Object) error {
	var printer printers.ResourcePrinter = &printers.JSONPrinter{}
	if o.Format == FormatYAML {
		printer = &printers.YAMLPrinter{}
	}
	printer = &printers.OmitManagedFieldsPrinter{Delegate: printer}
	if err := printer.PrintObj(object, env.Out); err != nil {
		return fmt.Errorf("writing the output: %w", err)
	}
	return nil
}
