// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// completionTimeout limits how long completion takes after the user presses Tab.
const completionTimeout = 3 * time.Second

// CompleteNames completes the names of the objects of a kind in Velero's namespace, for the first argument, or for all
// arguments if multiple. It offers nothing if the API server does not answer.
func (e *Environment) CompleteNames(multiple bool, newList func() client.ObjectList) cobra.CompletionFunc {
	return completeArguments(multiple, func(ctx context.Context) ([]string, error) {
		return e.Names(ctx, newList(), client.InNamespace(e.Namespace()))
	})
}

// CompleteNamespaces completes the names of namespaces in the same way.
func (e *Environment) CompleteNamespaces(multiple bool) cobra.CompletionFunc {
	return completeArguments(multiple, e.namespaces)
}

func (e *Environment) namespaces(ctx context.Context) ([]string, error) {
	return e.Names(ctx, &corev1.NamespaceList{})
}

// contexts returns the names of the kubeconfig's contexts.
func (e *Environment) contexts(context.Context) ([]string, error) {
	raw, err := e.Kube.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return nil, &configError{err}
	}
	return slices.Sorted(maps.Keys(raw.Contexts)), nil
}

// Names returns the names of all objects of the list's kind.
func (e *Environment) Names(
	ctx context.Context, list client.ObjectList, options ...client.ListOption,
) ([]string, error) {
	api, err := e.Client()
	if err != nil {
		return nil, err
	}
	if err := api.List(ctx, list, options...); err != nil {
		return nil, fmt.Errorf("listing names: %w", err)
	}
	return NamesIn(list)
}

// NamesIn returns the names of the objects in a list, in the list's order.
func NamesIn(list client.ObjectList) ([]string, error) {
	var names []string
	err := meta.EachListItem(list, func(object runtime.Object) error {
		if item, ok := object.(metav1.Object); ok {
			names = append(names, item.GetName())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading a list: %w", err)
	}
	return names, nil
}

// completeArguments offers names for the first argument, or for all arguments if multiple. It offers each name once.
func completeArguments(multiple bool, names func(context.Context) ([]string, error)) cobra.CompletionFunc {
	offer := completeFlag(names)
	return func(command *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 && !multiple {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		offered, directive := offer(command, args, toComplete)
		return slices.DeleteFunc(offered, func(name string) bool { return slices.Contains(args, name) }), directive
	}
}

// completeFlag offers names as the value of a flag.
func completeFlag(names func(context.Context) ([]string, error)) cobra.CompletionFunc {
	return func(command *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(command.Context(), completionTimeout)
		defer cancel()
		found, err := names(ctx)
		if err != nil {
			cobra.CompDebugln(err.Error(), false)
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}
