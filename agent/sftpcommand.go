// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
	"github.com/velero-restic/velero-plugin-for-restic/agent/sftp"
)

// newSFTPCommand returns the command that restic starts in place of ssh: see session.Opener.
func newSFTPCommand() *cobra.Command {
	var server sftp.Server
	command := &cobra.Command{
		Use:    session.SFTPSubcommand,
		Short:  "Connect standard input and output with an SFTP server, for restic",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(command *cobra.Command, _ []string) error {
			return server.Pipe(command.Context(), os.Stdin, os.Stdout)
		},
	}
	flags := command.Flags()
	flags.StringVar(&server.Host, "host", "", "name or address of the server")
	flags.StringVar(&server.Port, "port", "22", "its port")
	flags.StringVar(&server.User, "user", "", "whom to sign in as")
	flags.StringVar(&server.IdentityFile, "identity", "", "file with the user's private key")
	flags.StringVar(&server.KnownHostsFile, "known-hosts", "", "file with the server's keys")
	return command
}
