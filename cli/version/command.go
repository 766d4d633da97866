// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package version has the command that says which builds work together.
package version

import (
	"context"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/cli/display"
	"github.com/velero-restic/velero-plugin-for-restic/internal/version"
)

// viewer is the command `version`.
type viewer struct {
	env        *command.Environment
	output     *command.Output
	clientOnly bool
}

// Command returns the command `version`.
func Command(env *command.Environment) *cobra.Command {
	v := &viewer{env: env}
	show := &cobra.Command{
		Use:   "version",
		Short: "Show the versions of this program, Velero, the plugin, the agents and restic",
		Long: `Show the versions of this program, Velero, the plugin, the agents and restic, and warn if they do not
match.

Each agent reports its version and restic's. For Velero, and for the plugin in it, the version is the tag of the
image.`,
		Example: `  velero-restic version

  # For scripts
  velero-restic version -o json | jq -r '.agents[].restic'

  # Without a cluster
  velero-restic version --client-only`,
		Args:              cobra.NoArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cobraCommand *cobra.Command, _ []string) error { return v.run(cobraCommand.Context()) },
	}
	v.output = command.AddOutput(show, command.FormatTable, command.FormatJSON, command.FormatYAML)
	show.Flags().BoolVar(&v.clientOnly, "client-only", false, "only the version of this program, without the cluster")
	return show
}

// report is the output as JSON and YAML.
type report struct {
	Client client `json:"client"`
	// Velero and Plugin are nil if there is no Velero, or no plugin in it.
	Velero *image `json:"velero,omitempty"`
	Plugin *image `json:"plugin,omitempty"`
	// Agents has one for each pod of the DaemonSet.
	Agents []agent `json:"agents,omitempty"`
	// Warnings are human-readable: which versions do not match.
	Warnings []string `json:"warnings,omitempty"`
}

// client is this program.
type client struct {
	Version  string `json:"version"`
	Platform string `json:"platform"`
}

// image is a program whose version is known by its image.
type image struct {
	Image string `json:"image"`
	// Version is the image's tag; empty for an image without one.
	Version string `json:"version,omitempty"`
}

// agent is one pod of the DaemonSet.
type agent struct {
	Pod    string `json:"pod"`
	Node   string `json:"node"`
	Image  string `json:"image"`
	Ready  bool   `json:"ready"`
	Leader bool   `json:"leader,omitempty"`
	// Version and Restic are what the agent reports; empty until it does.
	Version string `json:"version,omitempty"`
	Restic  string `json:"restic,omitempty"`
}

func (v *viewer) run(ctx context.Context) error {
	r := &report{Client: client{Version: version.Version, Platform: runtime.GOOS + "/" + runtime.GOARCH}}
	var failure error
	if !v.clientOnly {
		failure = v.readCluster(ctx, r)
		r.findMismatches(v.env.Namespace(), failure)
	}
	if err := v.print(r); err != nil {
		return err
	}
	return failure
}

func (v *viewer) print(r *report) error {
	if v.output.Object() {
		return v.output.PrintValue(v.env, r)
	}
	v.line("Client", r.Client.Version, r.Client.Platform)
	if r.Velero != nil {
		v.line("Velero", orUnknown(r.Velero.Version), "image "+r.Velero.Image)
	}
	if r.Plugin != nil {
		v.line("Plugin", orUnknown(r.Plugin.Version), "image "+r.Plugin.Image)
	}
	for _, group := range grouped(r.Agents) {
		v.line("Agents", orUnknown(group.version), group.text())
	}
	for _, warning := range r.Warnings {
		fmt.Fprintln(v.env.ErrOut, v.env.ErrPalette().Paint(command.Warn, "warning: ")+display.Line(warning))
	}
	return nil
}

func (v *viewer) line(what, version, more string) {
	fmt.Fprintf(v.env.Out, "%s %s\n", v.env.Palette().Paint(command.Bold, what+":"),
		display.Line(fmt.Sprintf("%s (%s)", version, more)))
}

func orUnknown(version string) string {
	if version == "" {
		return "unknown"
	}
	return version
}
