// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// table holds the objects of one kind, as little of each as is needed. It is the store of a reflector.
type table[T client.Object] struct {
	// mu is the inventory's.
	mu *sync.RWMutex
	// strip takes out of an object, in place, what nobody looks at, and says whether the rest is needed at all.
	strip func(T) bool
	// changed is called with mu held for each object whose needed part has changed; one of the two is nil for an object
	// that is new or gone.
	changed func(before, after T)

	// filled is called, with mu held, after the first list.
	filled func()

	objects map[client.ObjectKey]T
	synced  bool
}

func (t *table[T]) upsert(object any) error {
	after, isOne := object.(T)
	if !isOne {
		return fmt.Errorf("reading a watch: %T is not what was asked for", object)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(after)
	return nil
}

// put takes an object in, with mu held, and says by which key.
func (t *table[T]) put(after T) client.ObjectKey {
	key := client.ObjectKeyFromObject(after)
	if !t.strip(after) {
		t.remove(key)
		return key
	}
	before, known := t.objects[key]
	if known && equality.Semantic.DeepEqual(before, after) {
		return key
	}
	t.objects[key] = after
	t.changed(before, after)
	return key
}

func (t *table[T]) remove(key client.ObjectKey) {
	before, known := t.objects[key]
	if !known {
		return
	}
	delete(t.objects, key)
	var none T
	t.changed(before, none)
}

// Add and the methods below make it a cache.ReflectorStore.
func (t *table[T]) Add(object any) error { return t.upsert(object) }

// Update is like Add.
func (t *table[T]) Update(object any) error { return t.upsert(object) }

// Delete removes an object.
func (t *table[T]) Delete(object any) error {
	gone, isOne := object.(T)
	if !isOne {
		return fmt.Errorf("reading a watch: %T is not what was asked for", object)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(client.ObjectKeyFromObject(gone))
	return nil
}

// Replace makes the list all that there is.
func (t *table[T]) Replace(list []any, _ string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	there := make(map[client.ObjectKey]bool, len(list))
	for _, object := range list {
		after, isOne := object.(T)
		if !isOne {
			return fmt.Errorf("reading a list: %T is not what was asked for", object)
		}
		there[t.put(after)] = true
	}
	for key := range t.objects {
		if !there[key] {
			t.remove(key)
		}
	}
	t.synced = true
	t.filled()
	return nil
}

// Resync has nothing to do: nothing is forgotten.
func (t *table[T]) Resync() error { return nil }
