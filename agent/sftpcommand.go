// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/velero-restic/velero-plugin-for-restic/agent/session"
	"github.com/velero-restic/velero-plugin-for-restic/agent/sftp"
)

// newSFTPCommand returns the command that restic starts in place of ssh: see session.Opener.
func newSFTPCommand() *cobra.Command {
	var server sftp.Server
	var errorsTo string
	command := &cobra.Command{
		Use:    session.SFTPSubcommand,
		Short:  "Connect standard input and output with an SFTP server, for restic",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(command *cobra.Command, _ []string) error {
			err := server.Pipe(command.Context(), os.Stdin, os.Stdout)
			if err != nil && errorsTo != "" {
				return errors.Join(err, appendLine(errorsTo, err.Error()))
			}
			return err
		},
	}
	flags := command.Flags()
	flags.StringVar(&server.Host, "host", "", "name or address of the server")
	flags.StringVar(&server.Port, "port", "22", "its port")
	flags.StringVar(&server.User, "user", "", "whom to sign in as")
	flags.StringVar(&server.IdentityFile, "identity", "", "file with the user's private key")
	flags.StringVar(&server.KnownHostsFile, "known-hosts", "", "file with the server's keys")
	flags.StringVar(&errorsTo, "errors-to", "", "file to which to append what went wrong, besides standard error")
	return command
}

// appendLine writes before this process ends, and so before restic can know that it has.
func appendLine(path, text string) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("noting what went wrong: %w", err)
	}
	_, err = file.WriteString(strings.ReplaceAll(text, "\n", " ") + "\n")
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("noting what went wrong: %w", err)
	}
	return nil
}
