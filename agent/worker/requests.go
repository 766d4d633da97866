// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package worker

import (
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func RequestsFor(list client.ObjectList) ([]reconcile.Request, error) {
	var requests []reconcile.Request
	err := meta.EachListItem(list, func(item runtime.Object) error {
		object, err := meta.Accessor(item)
		if err != nil {
			return err
		}
		requests = append(requests, reconcile.Request{
			NamespacedName: types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()},
		})
		return nil
	})
	return requests, err
}
