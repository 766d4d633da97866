// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/existing"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/node"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// newCommand creates the command with all subcommands. Only this file reads the environment.
func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "cluster",
		Short: "Run a real one-node Kubernetes with Velero and an S3 gateway, for the demo and the tests",
		Long: "Run a real one-node Kubernetes with Velero and an S3 gateway, for the demo and the tests.\n\n" +
			"It needs Linux, root, cgroups and Go. On Debian, it installs missing packages.\n" +
			"With CLUSTER=existing, the commands use the cluster of KUBECONFIG and do not change it.",
		SilenceUsage: true, SilenceErrors: true,
	}
	name := root.PersistentFlags().String("name", node.DefaultName,
		"name of the cluster; each cluster has its own network and state")
	root.AddCommand(buildCommand(), upCommand(name), downCommand(name), loadCommand(name), veleroCommand(name),
		kubeconfigCommand(name), statusCommand(name), restartCommand(name))
	return root
}

func buildCommand() *cobra.Command {
	return &cobra.Command{
		Use: "build [PROGRAM...]", Short: "Build the pinned parts, or single programs, into the cache",
		RunE: func(cmd *cobra.Command, programs []string) error {
			cache, err := part.Find(cmd.Context())
			if err != nil {
				return err
			}
			return cache.Build(cmd.Context(), cmd.OutOrStdout(), programs...)
		},
	}
}

func upCommand(name *string) *cobra.Command {
	var options node.Options
	cmd := &cobra.Command{
		Use: "up", Short: "Start a cluster if it does not run", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if done, err := useExisting(cmd); done || err != nil {
				return err
			}
			n, err := open(cmd, *name)
			if err != nil {
				return err
			}
			if err := n.Up(cmd.Context(), options); err != nil {
				return fmt.Errorf("starting cluster %s: %w", n.Name(), err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "\n  export KUBECONFIG=%s\n  export PATH=%s:$PATH\n",
				n.Kubeconfig(), n.Bin())
			return nil
		},
	}
	cmd.Flags().StringVar(&options.StoreFrom, "s3-from", "",
		"share the S3 bucket of this cluster instead of creating one")
	return cmd
}

func downCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Stop a cluster and remove everything that belongs to it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if done, err := useExisting(cmd); done || err != nil {
				return err
			}
			n, err := open(cmd, *name)
			if err != nil {
				return err
			}
			if err := n.Down(cmd.Context()); err != nil {
				return fmt.Errorf("stopping cluster %s: %w", n.Name(), err)
			}
			return nil
		},
	}
}

func loadCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use: "load FILE.tar...", Short: "Import container images into a cluster", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			done, err := useExisting(cmd)
			if err != nil {
				return err
			}
			if done {
				fmt.Fprintln(cmd.OutOrStdout(), "load these images into your cluster yourself:", files)
				return nil
			}
			n, err := open(cmd, *name)
			if err != nil {
				return err
			}
			return n.Load(cmd.Context(), files...)
		},
	}
}

func veleroCommand(name *string) *cobra.Command {
	var options velero.Options
	cmd := &cobra.Command{
		Use: "velero", Short: "Install Velero with its AWS plugin, and wait until it is ready", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			done, err := useExisting(cmd)
			if err != nil {
				return err
			}
			if done {
				fmt.Fprintln(cmd.OutOrStdout(), "install Velero on your cluster yourself: velero install --help")
				return nil
			}
			n, err := open(cmd, *name)
			if err != nil {
				return err
			}
			return velero.Install(cmd.Context(), n, options, cmd.OutOrStdout())
		},
	}
	cmd.Flags().BoolVar(&options.NodeAgent, "node-agent", false, "also install Velero's own node-agent")
	return cmd
}

func kubeconfigCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use: "kubeconfig", Short: "Print the path of a cluster's kubeconfig", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := open(cmd, *name)
			if err != nil {
				return err
			}
			chosen, err := existing.Chosen(os.Getenv("CLUSTER"))
			if err != nil {
				return err
			}
			if chosen {
				fmt.Fprintln(cmd.OutOrStdout(), os.Getenv("KUBECONFIG"))
				return nil
			}
			if _, err := n.Plan(); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), n.Kubeconfig())
			return nil
		},
	}
}

func statusCommand(name *string) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "status", Short: "Show what runs, and the paths of all files", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			n, err := open(cmd, *name)
			if err != nil {
				return err
			}
			info, err := n.Info()
			if err != nil {
				return err
			}
			if asJSON {
				encoder := json.NewEncoder(cmd.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(info)
			}
			return printInfo(cmd.OutOrStdout(), info)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print everything as JSON, for scripts")
	return cmd
}

func restartCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use: "restart PROGRAM", Short: "Restart one program of a cluster, such as kubelet", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := open(cmd, *name)
			if err != nil {
				return err
			}
			return n.Restart(cmd.Context(), args[0])
		},
	}
}

func printInfo(out io.Writer, info node.Info) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	rows := [][2]string{
		{"cluster", info.Name},
		{"ready", fmt.Sprint(info.Ready)},
		{"api", info.API},
		{"kubeconfig", info.Kubeconfig},
		{"programs", info.Bin},
		{"kubelet", info.KubeletRoot},
		{"logs", info.Logs},
		{"machine", info.Host},
		{"s3", info.Store.Endpoint + "/" + info.Store.Bucket},
		{"bucket", info.Store.Folder},
	}
	for _, row := range rows {
		fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
	}
	for _, name := range slices.Sorted(maps.Keys(info.Processes)) {
		state := "ended"
		if info.Processes[name] {
			state = "running"
		}
		fmt.Fprintf(w, "%s\t%s\n", name, state)
	}
	return w.Flush()
}

func open(cmd *cobra.Command, name string) (*node.Node, error) {
	cache, err := part.Find(cmd.Context())
	if err != nil {
		return nil, err
	}
	return node.New(name, cache, cmd.OutOrStdout())
}

// useExisting checks the user's own cluster if CLUSTER selects it. If done is true, the command has nothing else to do.
func useExisting(cmd *cobra.Command) (done bool, err error) {
	chosen, err := existing.Chosen(os.Getenv("CLUSTER"))
	if err != nil || !chosen {
		return false, err
	}
	return true, existing.Check(cmd.Context(), os.Getenv("KUBECONFIG"), cmd.OutOrStdout())
}
