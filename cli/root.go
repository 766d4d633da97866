// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"github.com/spf13/cobra"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/cli/coverage"
	"github.com/velero-restic/velero-plugin-for-restic/cli/plan"
	"github.com/velero-restic/velero-plugin-for-restic/cli/repository"
	"github.com/velero-restic/velero-plugin-for-restic/cli/version"
	"github.com/velero-restic/velero-plugin-for-restic/cli/watch"
)

// newRoot creates the root command with all subcommands.
func newRoot(env *command.Environment) *cobra.Command {
	root := &cobra.Command{
		Use:   command.Program,
		Short: "Show and manage restic for Velero",
		Long: `Show and manage restic for Velero: repositories, protected claims, and running backups and restores.

The program uses the cluster and the user of kubectl. It accepts the flags below, and all other flags of kubectl that
select a cluster or a user, such as --server, --token or --as.

Exit codes: 0 success; 1 failure; 2 wrong usage; 3 success with a bad result, such as damage; 4 --timeout has passed;
130 stopped by Ctrl-C.`,
	}
	env.AddFlags(root)
	return command.Group(root, repository.Command(env), coverage.Command(env), plan.Command(env), watch.Backup(env),
		watch.Restore(env), version.Command(env))
}
