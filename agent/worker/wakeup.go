// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package worker

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// Wakeup brings the keys of jobs that have changed from a transfer.Pool to a controller.
type Wakeup chan event.TypedGenericEvent[types.NamespacedName]

// NewWakeup returns a Wakeup, with room for what happens before the controller has started.
func NewWakeup() Wakeup { return make(Wakeup, 1024) }

// Changed is the callback of a transfer.Pool whose keys are those of reconcile requests. It never blocks: a controller
// that has stopped must not hold up jobs, and one that is behind looks at its objects again by itself.
func (w Wakeup) Changed(key string) {
	select {
	case w <- event.TypedGenericEvent[types.NamespacedName]{Object: namespacedName(key)}:
	default:
	}
}

func namespacedName(key string) types.NamespacedName {
	for i := range key {
		if key[i] == types.Separator {
			return types.NamespacedName{Namespace: key[:i], Name: key[i+1:]}
		}
	}
	return types.NamespacedName{Name: key}
}

func (w Wakeup) Source() source.Source {
	toRequest := func(_ context.Context, name types.NamespacedName) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: name}}
	}
	return source.Channel(w, handler.TypedEnqueueRequestsFromMapFunc(toRequest))
}
