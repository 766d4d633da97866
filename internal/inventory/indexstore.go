// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"fmt"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// indexStore is a reflector's store that keeps an index of objects instead of the objects, to save memory.
type indexStore[T client.Object] struct {
	// mu is the inventory's lock.
	mu *sync.RWMutex
	// onListed is called with mu held after the first list.
	onListed func()
	index    index[T]
	synced   bool
}

// index keeps what is needed of objects. Its methods are called with the inventory's lock held.
type index[T client.Object] interface {
	// add adds an object, or replaces its former version.
	add(T)
	// remove removes an object.
	remove(T)
	// clear removes all objects.
	clear()
}

// Add adds an object. The methods implement cache.ReflectorStore.
func (l *indexStore[T]) Add(object any) error { return l.one(object, l.index.add) }

// Update replaces an object.
func (l *indexStore[T]) Update(object any) error { return l.Add(object) }

// Delete removes an object.
func (l *indexStore[T]) Delete(object any) error { return l.one(object, l.index.remove) }

func (l *indexStore[T]) one(object any, do func(T)) error {
	one, isOne := object.(T)
	if !isOne {
		return fmt.Errorf("reading a watch: unexpected type %T", object)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	do(one)
	return nil
}

// Replace replaces all objects by those of the list.
func (l *indexStore[T]) Replace(list []any, _ string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index.clear()
	for _, object := range list {
		one, isOne := object.(T)
		if !isOne {
			return fmt.Errorf("reading a list: unexpected type %T", object)
		}
		l.index.add(one)
	}
	l.synced = true
	l.onListed()
	return nil
}

// Resync does nothing.
func (l *indexStore[T]) Resync() error { return nil }
