// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package command is what the commands of velero-restic share: the world they work in, how they end, and how they
// speak to people.
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

// Program is the name of the command, and what texts in this program call it. The user may call it by another one: see
// Environment.Program.
const Program = "velero-restic"

// Environment is the world of a command. Commands read neither the process's environment nor its streams.
type Environment struct {
	genericiooptions.IOStreams
	// Kube holds kubectl's flags. Its namespace is Velero's.
	Kube *genericclioptions.ConfigFlags
	// Clock tells the time.
	Clock clock.WithTicker
	// Screen is what Out is shown on.
	Screen Screen
	// ErrColor says that colors may be used on ErrOut: one of the two may go into a file.
	ErrColor bool
	// Program is the name by which the user called the program, such as "kubectl velero-restic".
	Program string
	// NoColor is the flag --no-color.
	NoColor bool
	// NewClient makes the client of a cluster, and NewClientset the one that reads logs and speaks to pods. Tests put
	// their own here.
	NewClient    func(*rest.Config) (client.WithWatch, error)
	NewClientset func(*rest.Config) (kubernetes.Interface, error)
}

// NewEnvironment returns the world of a process that has these streams. The namespace is Velero's unless a flag says
// otherwise.
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

// everyday returns the names of those of kubectl's flags that help texts show. The others work as well.
func shownKubectlFlags() []string {
	return []string{"kubeconfig", "context", "namespace", "request-timeout"}
}

// AddFlags makes what all commands have settable, at the root of them.
func (e *Environment) AddFlags(root *cobra.Command) {
	kube := pflag.NewFlagSet("", pflag.ContinueOnError)
	e.Kube.AddFlags(kube)
	kube.VisitAll(func(flag *pflag.Flag) { flag.Hidden = true })
	for _, name := range shownKubectlFlags() {
		kube.Lookup(name).Hidden = false
	}
	kube.Lookup("namespace").Usage = "namespace that Velero runs in; default: environment variable VELERO_NAMESPACE"
	kube.Lookup("kubeconfig").Usage = "path of the kubeconfig; default: as kubectl"
	kube.Lookup("context").Usage = "context of the kubeconfig to use"
	kube.Lookup("request-timeout").Usage = "how long one request to the API server may take, such as 30s; 0: no bound"
	flags := root.PersistentFlags()
	flags.AddFlagSet(kube)
	flags.BoolVar(&e.NoColor, "no-color", e.NoColor,
		"no colors, also on a terminal; default: environment variable NO_COLOR")
	for name, names := range map[string]func(context.Context) ([]string, error){
		"namespace": e.namespaces, "context": e.contexts,
	} {
		_ = root.RegisterFlagCompletionFunc(name, completeFlag(names)) // it fails only for a flag that is not there
	}
}

// Namespace returns Velero's.
func (e *Environment) Namespace() string { return *e.Kube.Namespace }

// Config returns how to reach the API server. Each call returns a new one.
func (e *Environment) Config() (*rest.Config, error) {
	config, err := e.Kube.ToRESTConfig()
	if err != nil {
		return nil, &configError{err}
	}
	config.UserAgent = Program + "/" + version.Version
	// The commands' own limits bound the load; client-go's would only delay it.
	config.QPS, config.Burst = 50, 100
	config.WarningHandler = rest.NewWarningWriter(e.ErrOut, rest.WarningWriterOptions{Deduplicate: true})
	return config, nil
}

// Client returns the client of the cluster that the user has chosen. It asks the API server for nothing yet.
func (e *Environment) Client() (client.WithWatch, error) {
	config, err := e.Config()
	if err != nil {
		return nil, err
	}
	return e.NewClient(config)
}

// Clientset returns what reads logs.
func (e *Environment) Clientset() (kubernetes.Interface, error) {
	config, err := e.Config()
	if err != nil {
		return nil, err
	}
	return e.NewClientset(config)
}

// Palette returns the colors of Out: none, unless it is a terminal and nobody has asked for none.
func (e *Environment) Palette() Palette { return Palette{on: e.Screen.Color && !e.NoColor} }

// ErrPalette returns the colors of ErrOut, in the same way.
func (e *Environment) ErrPalette() Palette { return Palette{on: e.ErrColor && !e.NoColor} }

// Sleep waits for a moment of the clock, or until the context ends, whose cause it then returns.
func (e *Environment) Sleep(ctx context.Context, timer clock.Timer) error {
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C():
		return nil
	}
}
