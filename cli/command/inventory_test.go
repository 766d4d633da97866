// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
)

// fakeInventory syncs when the channel is closed.
type fakeInventory struct {
	synced, ended chan struct{}
	readError     error
}

func (i *fakeInventory) Start(ctx context.Context) error {
	<-ctx.Done()
	i.readError = ctx.Err() // as after a request that was canceled
	close(i.ended)
	return nil
}

func (i *fakeInventory) WaitForSync(ctx context.Context) error {
	select {
	case <-i.synced:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (i *fakeInventory) ReadError() error { return i.readError }

func TestWithInventory(t *testing.T) {
	velero := []client.Object{&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "velero"}}}
	unreachable := &url.Error{Op: "Get", URL: "https://192.0.2.1", Err: errors.New("no route to host")}
	for name, test := range map[string]struct {
		objects   []client.Object
		readError error
		synced    bool
		timeout   time.Duration
		code      command.ExitCode
		says      []string
		never     string
	}{
		"it syncs": {objects: velero, synced: true},
		"it takes too long without an error": {
			objects: velero, timeout: 10 * time.Millisecond, code: command.ExitTimeout,
			says: []string{"--timeout has passed after 10ms\n", "next:  raise --timeout"},
		},
		"an object cannot be read": {
			objects: velero, readError: errors.New("trying to list pods: etcd is full"),
			timeout: 10 * time.Millisecond, code: command.ExitTimeout,
			says: []string{"--timeout has passed after 10ms: trying to list pods: etcd is full\n"}, never: "raise",
		},
		"the API server becomes unreachable": {
			objects: velero, readError: fmt.Errorf("trying to list pods: %w", unreachable),
			timeout: 10 * time.Millisecond, code: command.ExitFailure,
			says: []string{"no route to host", "cannot be reached"}, never: "raise",
		},
		"no Velero": {
			synced: true, code: command.ExitFailure, says: []string{"there is no Velero in namespace velero", "VELERO_NAMESPACE"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			env, errOut := withObjects(t, test.objects...)
			used, i := false, &fakeInventory{
				synced: make(chan struct{}), ended: make(chan struct{}), readError: test.readError,
			}
			if test.synced {
				close(i.synced)
			}
			limit := test.timeout
			if limit == 0 {
				limit = time.Minute
			}
			do := &cobra.Command{Use: "do", RunE: func(cmd *cobra.Command, _ []string) error {
				create := func(context.Context) (*fakeInventory, error) { return i, nil }
				return command.WithInventory(cmd.Context(), env, limit, create, func(context.Context, *fakeInventory) error {
					used = true
					return nil
				})
			}}
			code := command.Execute(t.Context(), env, do, nil)
			if code != test.code || used != (test.code == command.ExitOK) {
				t.Errorf("exit code %d, want %d; used: %t; %s", code, test.code, used, errOut)
			}
			for _, part := range test.says {
				if !strings.Contains(errOut.String(), part) {
					t.Errorf("the error does not contain %q: %s", part, errOut)
				}
			}
			if test.never != "" && strings.Contains(errOut.String(), test.never) {
				t.Errorf("the error contains %q: %s", test.never, errOut)
			}
			if len(test.objects) > 0 {
				<-i.ended // WithInventory must stop it
			}
		})
	}
}

// withObjects returns an environment for a cluster with these objects, and its error stream.
func withObjects(t *testing.T, objects ...client.Object) (*command.Environment, *bytes.Buffer) {
	t.Helper()
	scheme, err := command.NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	errOut := &bytes.Buffer{}
	streams := genericiooptions.IOStreams{In: strings.NewReader(""), Out: &bytes.Buffer{}, ErrOut: errOut}
	env := command.NewEnvironment(streams, command.Screen{}, "velero")
	server := "http://127.0.0.1:1"
	env.Kube.APIServer = &server
	env.NewClient = func(*rest.Config) (client.WithWatch, error) {
		return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build(), nil
	}
	return env, errOut
}
