// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// completePatience bounds how long a person who has pressed Tab is kept waiting.
const completePatience = 3 * time.Second

// CompleteNames completes the names of the objects of a kind in Velero's namespace, for the first argument or for all
// of them. Where the API server has no answer, there is nothing to offer.
func (e *Environment) CompleteNames(several bool, newList func() client.ObjectList) cobra.CompletionFunc {
	return func(command *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 && !several {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(command.Context(), completePatience)
		defer cancel()
		list := newList()
		api, err := e.Client()
		if err == nil {
			err = api.List(ctx, list, client.InNamespace(e.Namespace()))
		}
		var names []string
		if err == nil {
			err = meta.EachListItem(list, func(object runtime.Object) error {
				if item, ok := object.(metav1.Object); ok && !slices.Contains(args, item.GetName()) {
					names = append(names, item.GetName())
				}
				return nil
			})
		}
		if err != nil {
			cobra.CompDebugln(err.Error(), false)
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
