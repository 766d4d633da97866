// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Command velero-restic-agent runs restic on every node of a cluster: it carries out the PodVolumeBackups and
// PodVolumeRestores of its node's pods. One of the agents leads and looks after the repositories besides.
package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/velero-restic/velero-plugin-for-restic/internal/version"
)

func main() {
	options := NewOptions(os.Environ())
	command := newCommand(options)
	if err := command.ExecuteContext(ctrl.SetupSignalHandler()); err != nil {
		fmt.Fprintln(os.Stderr, "velero-restic-agent:", err)
		os.Exit(1)
	}
}

// newCommand returns the agent's command line, which sets the options.
func newCommand(options *Options) *cobra.Command {
	command := &cobra.Command{
		Use:           "velero-restic-agent",
		Short:         "Back up and restore the volumes of this node's pods with restic",
		Args:          cobra.NoArgs,
		Version:       fmt.Sprintf("%s (restic %s)", version.Version, version.Restic),
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := options.Validate(); err != nil {
				return err
			}
			return run(command.Context(), options)
		},
	}
	options.AddFlags(command.PersistentFlags())
	command.AddCommand(newSFTPCommand(), maintainCommand(options))
	command.PersistentPreRun = func(*cobra.Command, []string) { setLogger(options) }
	return command
}

// setLogger has this program and client-go log as the options ask. controller-runtime takes one logger for a process
// and ignores the next ones: this must not be called before the flags are read.
func setLogger(options *Options) {
	logger := zap.New(logging(options))
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
}

func logging(options *Options) zap.Opts {
	return func(o *zap.Options) {
		o.Development = options.LogFormat == "text"
		o.StacktraceLevel = zapcore.PanicLevel
		level := zapcore.InfoLevel
		if err := level.UnmarshalText([]byte(options.LogLevel)); err == nil {
			o.Level = level
		}
	}
}
