// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"fmt"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ledger is the store of a reflector of which less is kept than objects: what becomes of them is up to its book.
type ledger[T client.Object] struct {
	// mu is the inventory's.
	mu *sync.RWMutex
	// filled is called, with mu held, after the first list.
	filled func()
	book   book[T]
	synced bool
}

// book keeps of objects what is needed. Its methods are called with the inventory's lock held.
type book[T client.Object] interface {
	// enter takes an object in, or what has become of it.
	enter(T)
	// strike forgets it.
	strike(T)
	// clear forgets all.
	clear()
}

// Add and the methods below make it a cache.ReflectorStore.
func (l *ledger[T]) Add(object any) error { return l.one(object, l.book.enter) }

// Update is like Add.
func (l *ledger[T]) Update(object any) error { return l.Add(object) }

// Delete forgets an object.
func (l *ledger[T]) Delete(object any) error { return l.one(object, l.book.strike) }

func (l *ledger[T]) one(object any, do func(T)) error {
	one, isOne := object.(T)
	if !isOne {
		return fmt.Errorf("reading a watch: %T is not what was asked for", object)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	do(one)
	return nil
}

// Replace makes the list all that there is.
func (l *ledger[T]) Replace(list []any, _ string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book.clear()
	for _, object := range list {
		one, isOne := object.(T)
		if !isOne {
			return fmt.Errorf("reading a list: %T is not what was asked for", object)
		}
		l.book.enter(one)
	}
	l.synced = true
	l.filled()
	return nil
}

// Resync has nothing to do.
func (l *ledger[T]) Resync() error { return nil }
