// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package watch

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
)

// firstRetry and lastRetry bound the time between two attempts to reach the API server.
const firstRetry, lastRetry = time.Second, 10 * time.Second

// news is one thing that a feed has to tell; exactly one field is set.
type news struct {
	// all is a list of everything there is; it may be empty, and is not nil.
	all []client.Object
	// changed is new or has changed, gone was deleted.
	changed, gone client.Object
	// lost is why the API server cannot be asked; it is asked again.
	lost error
}

// feed follows the objects that a list returns: it lists, watches from there, and begins anew when the watch ends.
type feed struct {
	client  client.WithWatch
	clock   clock.Clock
	list    func() client.ObjectList
	options []client.ListOption
}

// run tells news until the context ends. It fails at once when trying again will not help, and when no attempt has
// succeeded for too long. The session has been answered before it begins.
func (f *feed) run(ctx context.Context, tell func(news)) error {
	answered, wait := f.clock.Now(), firstRetry
	for {
		opened, err := f.follow(ctx, tell)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // whoever ended the context knows why
		}
		if opened {
			answered, wait = f.clock.Now(), firstRetry
		}
		switch {
		case err == nil:
		case command.IsPermanent(err):
			return err
		case f.clock.Since(answered) > command.MaxOutage:
			return fmt.Errorf("the API server has been away for %s: %w", command.MaxOutage, err)
		default:
			tell(news{lost: err})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-f.clock.After(wait):
		}
		if err != nil {
			wait = min(wait*2, lastRetry)
		}
	}
}

// follow lists once and watches until that ends; opened says that it came to watching. Nothing is told before: a list
// that no watch follows is soon wrong. An end of the watch that is none of the server's trouble is no error.
func (f *feed) follow(ctx context.Context, tell func(news)) (opened bool, err error) {
	list := f.list()
	if err := f.client.List(ctx, list, f.options...); err != nil {
		return false, err
	}
	objects, err := objectsOf(list)
	if err != nil {
		return false, err
	}
	options := append([]client.ListOption{
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.GetResourceVersion()}},
	}, f.options...)
	watcher, err := f.client.Watch(ctx, f.list(), options...)
	if err != nil {
		return false, err
	}
	defer watcher.Stop()
	tell(news{all: objects})
	for {
		select {
		case <-ctx.Done():
			return true, nil
		case event, open := <-watcher.ResultChan():
			if !open {
				return true, nil
			}
			if err := forward(event, tell); err != nil {
				return true, endOf(err)
			}
		}
	}
}

func forward(event apiwatch.Event, tell func(news)) error {
	object, known := event.Object.(client.Object)
	switch {
	case event.Type == apiwatch.Error:
		return apierrors.FromObject(event.Object)
	case !known || event.Type == apiwatch.Bookmark:
		return nil
	case event.Type == apiwatch.Deleted:
		tell(news{gone: object})
	default:
		tell(news{changed: object})
	}
	return nil
}

// endOf leaves out what happens to every watch now and then: the server has forgotten where it began.
func endOf(err error) error {
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return nil
	}
	return err
}

func objectsOf(list client.ObjectList) ([]client.Object, error) {
	objects := []client.Object{}
	err := meta.EachListItem(list, func(item runtime.Object) error {
		object, known := item.(client.Object)
		if !known {
			return errors.New("the list has an item that is no object")
		}
		objects = append(objects, object)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading a list: %w", err)
	}
	return objects, nil
}
