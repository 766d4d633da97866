// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// objectStore is a reflector's store that keeps the needed parts of the objects of one kind.
type objectStore[T client.Object] struct {
	// mu is the inventory's lock.
	mu *sync.RWMutex
	// strip removes, in place, what is not needed of an object, and returns whether the object is needed.
	strip func(T) bool
	// changed is called with mu held for each object whose needed part changed. before is nil for a new object, after
	// for a deleted one.
	changed func(before, after T)

	// onListed is called with mu held after the first list.
	onListed func()

	objects map[client.ObjectKey]T
	synced  bool
}

func (t *objectStore[T]) upsert(object any) error {
	after, isOne := object.(T)
	if !isOne {
		return fmt.Errorf("reading a watch: unexpected type %T", object)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(after)
	return nil
}

// put adds or replaces an object, with mu held, and returns its key.
func (t *objectStore[T]) put(after T) client.ObjectKey {
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

func (t *objectStore[T]) remove(key client.ObjectKey) {
	before, known := t.objects[key]
	if !known {
		return
	}
	delete(t.objects, key)
	var none T
	t.changed(before, none)
}

// Add adds an object. The methods implement cache.ReflectorStore.
func (t *objectStore[T]) Add(object any) error { return t.upsert(object) }

// Update replaces an object.
func (t *objectStore[T]) Update(object any) error { return t.upsert(object) }

// Delete removes an object.
func (t *objectStore[T]) Delete(object any) error {
	gone, isOne := object.(T)
	if !isOne {
		return fmt.Errorf("reading a watch: unexpected type %T", object)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(client.ObjectKeyFromObject(gone))
	return nil
}

// Replace replaces all objects by those of the list.
func (t *objectStore[T]) Replace(list []any, _ string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	there := make(map[client.ObjectKey]bool, len(list))
	for _, object := range list {
		after, isOne := object.(T)
		if !isOne {
			return fmt.Errorf("reading a list: unexpected type %T", object)
		}
		there[t.put(after)] = true
	}
	for key := range t.objects {
		if !there[key] {
			t.remove(key)
		}
	}
	t.synced = true
	t.onListed()
	return nil
}

// Resync does nothing, because the store has missed no event.
func (t *objectStore[T]) Resync() error { return nil }
