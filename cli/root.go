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

// newRoot wires the commands.
func newRoot(env *command.Environment) *cobra.Command {
	root := &cobra.Command{
		Use:   command.Program,
		Short: "See and look after what restic for Velero does",
		Long: `See and look after what restic for Velero does: repositories, what is protected, backups and restores on
their way.

The cluster and the user are those of kubectl. Besides the flags below, every other flag of kubectl that chooses them
works as well, such as --server, --token or --as.

Exit codes: 0 done and well; 1 it could not be done; 2 wrong usage; 3 done, and the answer is bad, such as damage;
4 a deadline has passed; 130 stopped by Ctrl-C.`,
	}
	env.AddFlags(root)
	return command.Group(root, repository.Command(env), coverage.Command(env), plan.Command(env), watch.Backup(env),
		watch.Restore(env), version.Command(env))
}
