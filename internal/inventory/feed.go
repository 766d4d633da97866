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

// pageSize is how many objects a list brings at a time. Only so many are in memory whole.
const pageSize = 500

// feed keeps a store equal to what the API server has of one kind.
type feed struct {
	// what names the resource, for people.
	what      string
	namespace string // empty for all
	example   client.Object
	list      client.ObjectList
	// strip makes an object small, in place.
	strip func(runtime.Object)
	store toolscache.ReflectorStore
}

// run lists and watches until the context ends. It never gives up; what goes wrong is noted as trouble.
func (f *feed) run(ctx context.Context, c client.WithWatch, trouble *trouble) {
	lw := &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			list, err := f.page(ctx, c, options)
			trouble.note("list "+f.what, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			w, err := c.Watch(ctx, copyOf(f.list), &client.ListOptions{Namespace: f.namespace, Raw: &options})
			trouble.note("watch "+f.what, err)
			return w, err
		},
	}
	reflector := toolscache.NewReflectorWithOptions(lw, f.example, f.store, toolscache.ReflectorOptions{Name: f.what})
	reflector.WatchListPageSize = pageSize
	// What the reflector says to the log is in trouble, too, and a terminal is no log.
	reflector.RunWithContext(klog.NewContext(ctx, logr.Discard()))
}

// page lists one page and makes its objects small at once, so that never more than a page is in memory whole.
func (f *feed) page(ctx context.Context, c client.Reader, options metav1.ListOptions) (runtime.Object, error) {
	// With version 0 the API server's cache would answer with everything at once. With that of the last object, and a
	// limit, the answer is as of that version to the letter (Kubernetes v1.36.3, apiserver, pkg/storage/interfaces.go,
	// ValidateListOptions): a watch that begins there is refused as too old again and again, until etcd has compacted
	// it away.
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

// trouble is what cannot be read at the moment, by what was tried.
type trouble struct {
	mu     sync.Mutex
	log    logr.Logger
	errors map[string]error
}

// note remembers an error, or that there is none any more.
func (t *trouble) note(what string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.errors[what]
	switch {
	case apierrors.IsResourceExpired(err), apierrors.IsGone(err):
		// The reflector lists anew.
	case err == nil:
		delete(t.errors, what)
	default:
		t.errors[what] = err
		if before == nil || before.Error() != err.Error() {
			t.log.Error(err, "Reading the cluster, trying again", "request", what)
		}
	}
}

// current returns the first trouble there is, and whether waiting alone will not help.
func (t *trouble) current() (lasting bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(t.errors)) {
		e := t.errors[what]
		hopeless := apierrors.IsForbidden(e) || apierrors.IsUnauthorized(e) || apierrors.IsNotFound(e) ||
			meta.IsNoMatchError(e)
		if err == nil || hopeless && !lasting {
			lasting, err = hopeless, fmt.Errorf("trying to %s: %w", what, e)
		}
	}
	return lasting, err
}

// syncLook is how often WaitForSync looks.
const syncLook = 50 * time.Millisecond
