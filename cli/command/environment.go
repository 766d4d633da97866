// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package command is what the commands of velero-restic share: their environment, exit codes, errors and output.
package command

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/version"
)

// Program is the name of the program in the source of help texts. The user may call it by another name: see
// Environment.Program.
const Program = "velero-restic"

// Environment is what a command uses instead of the process's environment and streams, so that tests can replace it.
type Environment struct {
	genericiooptions.IOStreams
	// Kube has kubectl's flags. Its namespace is Velero's.
	Kube *genericclioptions.ConfigFlags
	// Clock is the current time.
	Clock clock.WithTicker
	// Screen describes the terminal of Out.
	Screen Screen
	// ErrColor is true if ErrOut supports colors. It may be redirected independently of Out.
	ErrColor bool
	// Program is the name that the user called, such as "kubectl velero-restic".
	Program string
	// NoColor is the flag --no-color.
	NoColor bool
	// NewClient creates the client of a cluster, and NewClientset the client for logs. Tests replace both.
	NewClient    func(*rest.Config) (client.WithWatch, error)
	NewClientset func(*rest.Config) (kubernetes.Interface, error)
}

// NewEnvironment returns the environment of a process with these streams. The namespace is the default of --namespace.
func NewEnvironment(streams genericiooptions.IOStreams, screen Screen, namespace string) *Environment {
	kube := genericclioptions.NewConfigFlags(true)
	kube.CacheDir, kube.Namespace = nil, &namespace
	return &Environment{
		IOStreams: streams, Kube: kube, Clock: clock.RealClock{}, Screen: screen, Program: Program,
		NewClient: newClient,
		NewClientset: func(config *rest.Config) (kubernetes.Interface, error) {
			return kubernetes.NewForConfig(config)
		},
	}
}

// shownKubectlFlags are the names of kubectl's flags in help texts. The other flags are accepted, too.
func shownKubectlFlags() []string {
	return []string{"kubeconfig", "context", "namespace", "request-timeout"}
}

// AddFlags adds the flags that all commands share to the root command.
func (e *Environment) AddFlags(root *cobra.Command) {
	kube := pflag.NewFlagSet("", pflag.ContinueOnError)
	e.Kube.AddFlags(kube)
	kube.VisitAll(func(flag *pflag.Flag) { flag.Hidden = true })
	for _, name := range shownKubectlFlags() {
		kube.Lookup(name).Hidden = false
	}
	kube.Lookup("namespace").Usage = "namespace of Velero; default: environment variable VELERO_NAMESPACE, or velero"
	kube.Lookup("kubeconfig").Usage = "path of the kubeconfig; default: as in kubectl"
	kube.Lookup("context").Usage = "context of the kubeconfig to use"
	kube.Lookup("request-timeout").Usage = "timeout of one request to the API server, such as 30s; 0: no timeout"
	flags := root.PersistentFlags()
	flags.AddFlagSet(kube)
	flags.BoolVar(&e.NoColor, "no-color", e.NoColor,
		"print no colors, even on a terminal; default: environment variable NO_COLOR")
	for name, names := range map[string]func(context.Context) ([]string, error){
		"namespace": e.namespaces, "context": e.contexts,
	} {
		_ = root.RegisterFlagCompletionFunc(name, completeFlag(names)) // it fails only for an unknown flag
	}
}

// Namespace returns the namespace of Velero.
func (e *Environment) Namespace() string { return *e.Kube.Namespace }

// Config returns a new client configuration.
func (e *Environment) Config() (*rest.Config, error) {
	config, err := e.Kube.ToRESTConfig()
	if err != nil {
		return nil, &configError{err}
	}
	config.UserAgent = Program + "/" + version.Version
	// The commands make few requests; client-go's default limits would only delay them.
	config.QPS, config.Burst = 50, 100
	config.WarningHandler = rest.NewWarningWriter(e.ErrOut, rest.WarningWriterOptions{Deduplicate: true})
	return config, nil
}

// Client returns a client of the cluster. It makes no request.
func (e *Environment) Client() (client.WithWatch, error) {
	config, err := e.Config()
	if err != nil {
		return nil, err
	}
	return e.NewClient(config)
}

// Clientset returns a client for logs.
func (e *Environment) Clientset() (kubernetes.Interface, error) {
	config, err := e.Config()
	if err != nil {
		return nil, err
	}
	return e.NewClientset(config)
}

// Palette returns the colors of Out: none if it is not a terminal, or with --no-color.
func (e *Environment) Palette() Palette { return Palette{enabled: e.Screen.Color && !e.NoColor} }

// ErrPalette returns the colors of ErrOut.
func (e *Environment) ErrPalette() Palette { return Palette{enabled: e.ErrColor && !e.NoColor} }

// Sleep waits for the timer, or until the context ends and returns the context's cause.
func (e *Environment) Sleep(ctx context.Context, timer clock.Timer) error {
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C():
		return nil
	}
}
