// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// pageSize is the number of objects in one page of a list. At most one page is in memory with complete objects.
const pageSize = 500

// reflector keeps a store up to date with the API server, for one kind.
type reflector struct {
	// what is the name of the resource in messages.
	what      string
	namespace string // empty for all
	example   client.Object
	list      client.ObjectList
	// strip removes, in place, what is not needed of an object.
	strip func(runtime.Object)
	store toolscache.ReflectorStore
}

// run lists and watches until the context ends. It retries forever and records what fails.
func (f *reflector) run(ctx context.Context, c client.WithWatch, readErrors *readErrors) {
	lw := &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			list, err := f.page(ctx, c, options)
			readErrors.record("list "+f.what, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			w, err := c.Watch(ctx, copyOf(f.list), &client.ListOptions{Namespace: f.namespace, Raw: &options})
			readErrors.record("watch "+f.what, err)
			return w, err
		},
	}
	reflector := toolscache.NewReflectorWithOptions(lw, f.example, f.store, toolscache.ReflectorOptions{Name: f.what})
	reflector.WatchListPageSize = pageSize
	// The recorded errors replace the reflector's own log, which would end up on the user's terminal.
	reflector.RunWithContext(klog.NewContext(ctx, logr.Discard()))
}

// page lists one page and strips its objects at once, so that at most one page of complete objects is in memory.
func (f *reflector) page(ctx context.Context, c client.Reader, options metav1.ListOptions) (runtime.Object, error) {
	// Version 0 would make the API server's cache return all objects at once. The version of the last object, together
	// with a limit, would return a list of exactly that version (Kubernetes v1.36.3, apiserver,
	// pkg/storage/interfaces.go, ValidateListOptions), and the API server would reject watches from there as too old
	// until etcd compacts it.
	options.ResourceVersion, options.ResourceVersionMatch = "", ""
	list := copyOf(f.list)
	if err := c.List(ctx, list, &client.ListOptions{
		Namespace: f.namespace, Limit: options.Limit, Continue: options.Continue, Raw: &options,
	}); err != nil {
		return nil, err
	}
	err := meta.EachListItem(list, func(object runtime.Object) error {
		f.strip(object)
		return nil
	})
	return list, err
}

func copyOf(list client.ObjectList) client.ObjectList {
	copied, _ := list.DeepCopyObject().(client.ObjectList)
	return copied
}

// readErrors has what currently cannot be read, by request.
type readErrors struct {
	mu     sync.Mutex
	log    logr.Logger
	errors map[string]error
}

// record sets the error of a request; nil removes it.
func (t *readErrors) record(what string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.errors[what]
	switch {
	case apierrors.IsResourceExpired(err), apierrors.IsGone(err):
		// The reflector lists again.
	case err == nil:
		delete(t.errors, what)
	default:
		t.errors[what] = err
		if before == nil || before.Error() != err.Error() {
			t.log.Error(err, "Reading cluster state, retrying", "request", what)
		}
	}
}

// first returns one current error, and whether it is permanent. Permanent errors come first.
func (t *readErrors) first() (permanent bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(t.errors)) {
		e := t.errors[what]
		isPermanent := apierrors.IsForbidden(e) || apierrors.IsUnauthorized(e) || apierrors.IsNotFound(e) ||
			meta.IsNoMatchError(e)
		if err == nil || isPermanent && !permanent {
			permanent, err = isPermanent, fmt.Errorf("trying to %s: %w", what, e)
		}
	}
	return permanent, err
}

// syncInterval is how often WaitForSync checks whether the inventory has synced.
const syncInterval = 50 * time.Millisecond
