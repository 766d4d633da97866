// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// pollInterval is how often eventually checks.
const pollInterval = 300 * time.Millisecond

// pointerTo is a pointer to a struct that is an object of the API.
type pointerTo[T any] interface {
	*T
	client.Object
}

// pointerToList is a pointer to a struct that is a list of the API.
type pointerToList[T any] interface {
	*T
	client.ObjectList
}

// get reads one object of the test's cluster. The test ends if that fails.
func get[T any, P pointerTo[T]](t *testing.T, namespace, name string) T {
	t.Helper()
	object, err := tryGet[T, P](t, namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	return object
}

func tryGet[T any, P pointerTo[T]](t *testing.T, namespace, name string) (T, error) {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	var object T
	err := clusterOf(t).api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, P(&object))
	return object, err
}

// list reads the objects that the options select. The test ends if that fails.
func list[T any, P pointerToList[T]](t *testing.T, options ...client.ListOption) T {
	t.Helper()
	objects, err := tryList[T, P](t, options...)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

func tryList[T any, P pointerToList[T]](t *testing.T, options ...client.ListOption) (T, error) {
	t.Helper()
	ctx, cancel := limited(t)
	defer cancel()
	var objects T
	err := clusterOf(t).api.List(ctx, P(&objects), options...)
	return objects, err
}

// checkGone returns an error while the object exists.
func checkGone[T any, P pointerTo[T]](t *testing.T, namespace, name string) error {
	t.Helper()
	_, err := tryGet[T, P](t, namespace, name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%s/%s still exists", namespace, name)
}

// inVelero selects the objects of Velero's namespace.
func inVelero() client.ListOption { return client.InNamespace(velero.Namespace) }

// eventually repeats the check until it returns no error. The test ends with its last error after the limit.
func eventually(t *testing.T, limit time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
		time.Sleep(pollInterval)
	}
}

// wantContains reports each part that the text lacks.
func wantContains(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s does not contain %q:\n%s", what, part, text)
		}
	}
}
