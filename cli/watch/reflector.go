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

// firstRetry and lastRetry are the shortest and the longest pause between two attempts to reach the API server.
const firstRetry, lastRetry = time.Second, 10 * time.Second

// event is one update of a reflector; exactly one field is set.
type event struct {
	// all are all objects after a list; it may be empty, and is not nil.
	all []client.Object
	// updated is a new or changed object, deleted a deleted one.
	updated, deleted client.Object
	// outage is why the API server cannot be reached; the reflector retries.
	outage error
}

// reflector follows the objects of a list: it lists, watches, and lists again when the watch ends.
type reflector struct {
	client  client.WithWatch
	clock   clock.Clock
	list    func() client.ObjectList
	options []client.ListOption
}

// run sends events until the context ends. It returns an error at once if a retry will not help, and when no attempt
// has succeeded for too long.
func (f *reflector) run(ctx context.Context, send func(event)) error {
	answered, wait := f.clock.Now(), firstRetry
	for {
		opened, err := f.follow(ctx, send)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the caller knows why the context ended
		}
		if opened {
			answered, wait = f.clock.Now(), firstRetry
		}
		switch {
		case err == nil:
		case command.IsPermanent(err):
			return err
		case f.clock.Since(answered) > command.MaxOutage:
			return fmt.Errorf("the API server has not answered for %s: %w", command.MaxOutage, err)
		default:
			send(event{outage: err})
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

// follow lists once and watches until the watch ends; opened is true if the watch was opened. It sends the list only
// then, because a list without a watch is soon outdated.
func (f *reflector) follow(ctx context.Context, send func(event)) (opened bool, err error) {
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
	send(event{all: objects})
	for {
		select {
		case <-ctx.Done():
			return true, nil
		case event, open := <-watcher.ResultChan():
			if !open {
				return true, nil
			}
			if err := sendEvent(event, send); err != nil {
				return true, unlessExpired(err)
			}
		}
	}
}

func sendEvent(received apiwatch.Event, send func(event)) error {
	object, known := received.Object.(client.Object)
	switch {
	case received.Type == apiwatch.Error:
		return apierrors.FromObject(received.Object)
	case !known || received.Type == apiwatch.Bookmark:
		return nil
	case received.Type == apiwatch.Deleted:
		send(event{deleted: object})
	default:
		send(event{updated: object})
	}
	return nil
}

// unlessExpired returns nil for an expired resource version, which every watch meets now and then.
func unlessExpired(err error) error {
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
			return errors.New("the list has an unexpected item")
		}
		objects = append(objects, object)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading a list: %w", err)
	}
	return objects, nil
}
