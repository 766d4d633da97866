// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/internal/snapshotlist"
)

// list returns the entry of a requested list.
func list(requestID string, result resticv1.MaintenanceResult, message string) resticv1.Maintenance {
	entry := resticv1.Maintenance{
		Operation: resticv1.OperationSnapshots, Request: requestID, Job: "restic-snapshots-1", Result: result,
		Message: message, StartTime: metav1.Now(),
	}
	if result != resticv1.MaintenanceRunning {
		entry.CompletionTime, entry.Duration = ptr.To(metav1.Now()), &metav1.Duration{Duration: 3 * time.Second}
	}
	return entry
}

// listing updates the entry of the requested list in the same way as the leader.
func (c *cluster) listing(result resticv1.MaintenanceResult, reason resticv1.WaitingReason, message string) {
	c.t.Helper()
	repository := c.shop()
	requestID := repository.Spec.Requests.Snapshots
	repository.Status.Served.Snapshots = requestID
	entry := list(requestID, result, message)
	entry.Reason = reason
	repository.Status.Maintenance = []resticv1.Maintenance{entry}
	if err := c.api.Status().Update(context.WithoutCancel(c.t.Context()), repository); err != nil {
		c.t.Fatal(err)
	}
}

// TestSnapshotsColors redirects one of the two streams to a file.
func TestSnapshotsColors(t *testing.T) {
	for name, c := range map[string]struct {
		screen   command.Screen
		errColor bool
		want     string
	}{
		"standard error is a file": {
			screen: command.Screen{Terminal: true, Color: true}, want: "shop-default-1: failed after 3s: no room\n",
		},
		"standard output is a file": {errColor: true, want: "shop-default-1: \x1b[31mfailed after 3s: no room\x1b[0m\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world := newCluster(t, shop(), agents(3), leader())
				world.adapt = func(env *command.Environment) { env.Screen, env.ErrColor = c.screen, c.errColor }
				go func() {
					world.pass(1)
					world.listing(resticv1.MaintenanceFailed, "", "no room")
				}()
				got := world.run(t.Context(), "repo", "snapshots", "shop")
				if got.code != command.ExitFailure || !strings.HasPrefix(got.err, c.want) {
					t.Errorf("got %+v, want %q", got, c.want)
				}
			})
		})
	}
}

// TestSnapshotsPrintsWaits checks when the command prints what it waits for.
func TestSnapshotsPrintsWaits(t *testing.T) {
	const noPod = resticv1.WaitingForPod
	waiting := "its pod is not running: Unschedulable: 0/3 nodes are available"
	for name, test := range map[string]struct {
		maintenance []resticv1.Maintenance
		cluster     func(c *cluster)
		args        []string
		code        command.ExitCode
		want        string
	}{
		"not if the list is quick": {
			cluster: func(c *cluster) {
				c.pass(2)
				c.listing(resticv1.MaintenanceRunning, "", "")
				c.pass(2)
				c.listing(resticv1.MaintenanceFailed, "", "no room")
			},
			code: command.ExitFailure, want: "failed after 3s: no room\nerror: snapshots failed",
		},
		"after some seconds": {
			cluster: func(c *cluster) {
				c.pass(2)
				c.listing(resticv1.MaintenanceRunning, noPod, waiting)
				c.pass(10)
				c.listing(resticv1.MaintenanceRunning, "", "")
				c.pass(2)
				c.listing(resticv1.MaintenanceFailed, "", "no room")
			},
			code: command.ExitFailure,
			want: "Job restic-snapshots-1 is waiting: " + waiting +
				"\nJob restic-snapshots-1 is running\nfailed after 3s: no room\nerror:",
		},
		"at the timeout": {
			cluster: func(c *cluster) {
				c.pass(1)
				c.listing(resticv1.MaintenanceRunning, noPod, waiting)
				c.pass(4)
			},
			args: []string{"--timeout=4s"}, code: command.ExitTimeout,
			want: "error: --timeout has passed: 1 of 1 are not finished after 4s: Job restic-snapshots-1 is waiting: " + waiting +
				"\nnext:  the request stays",
		},
		"until the leader gives up on the pod": {
			cluster: func(c *cluster) {
				c.pass(2)
				c.listing(resticv1.MaintenanceRunning, noPod, waiting)
				c.pass(10 * 60)
				c.listing(resticv1.MaintenanceFailed, "", "its pod did not run within 10m0s")
			},
			code: command.ExitFailure, want: "Job restic-snapshots-1 is waiting: " + waiting + "\nfailed after 3s: its pod did not run within 10m0s\n",
		},
		"a running check does not block it": {
			maintenance: []resticv1.Maintenance{check("", resticv1.MaintenanceRunning, "")},
			cluster:     func(c *cluster) { c.pass(8) },
			args:        []string{"--timeout=7s"}, code: command.ExitTimeout, want: "queued\nerror: --timeout has passed",
		},
		"another list runs first": {
			maintenance: []resticv1.Maintenance{list("", resticv1.MaintenanceRunning, "")},
			cluster:     func(c *cluster) { c.pass(8) },
			args:        []string{"--timeout=7s"}, code: command.ExitTimeout,
			want: "queued, waiting: Job restic-snapshots-1 (Snapshots) runs first\nerror: --timeout has passed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				repository := shop()
				repository.Status.Maintenance = test.maintenance
				world := newCluster(t, repository, agents(3), leader())
				var others sync.WaitGroup
				defer others.Wait()
				others.Go(func() { test.cluster(world) })
				got := world.run(t.Context(), append([]string{"repo", "snapshots", "shop"}, test.args...)...)
				said := strings.ReplaceAll(got.err, "shop-default-1: ", "")
				if got.code != test.code || got.out != "" || !strings.HasPrefix(said, test.want) {
					t.Errorf("exit code %d, want %d; got\n%s, want\n%s", got.code, test.code, said, test.want)
				}
			})
		})
	}
}

// TestMaintenanceDoesNotWaitForLists requests a check while a list is running.
func TestMaintenanceDoesNotWaitForLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		repository := shop()
		repository.Status.Maintenance = []resticv1.Maintenance{list("theirs", resticv1.MaintenanceRunning, "")}
		world := newCluster(t, repository, agents(3), leader())
		got := world.run(t.Context(), "repo", "check", "shop", "--timeout=3s")
		if want := "shop-default-1: check requested\nshop-default-1: queued\n"; got.out != want {
			t.Errorf("got %q, want %q", got.out, want)
		}
	})
}

// logged is an HTTP transport whose logs contain a list of snapshots.
type logged []snapshotlist.Snapshot

func (l logged) RoundTrip(request *http.Request) (*http.Response, error) {
	var log bytes.Buffer
	_, err := snapshotlist.Write(&log, l, 0)
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/plain"}},
		Body: io.NopCloser(&log), Request: request,
	}, err
}

func TestSnapshotsFilter(t *testing.T) {
	claim := func(name, uid string) client.Object {
		return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, UID: types.UID(uid),
		}}
	}
	listed := logged{
		{ID: "named-1", Pod: "db-0", PVC: "data", PVCUID: "uid-of-data"},
		{ID: "old-1", Pod: "db-0", PVCUID: "uid-of-data"},
		{ID: "old-2", Pod: "db-0", PVCUID: "uid-of-logs"},
		{ID: "named-2", Pod: "db-0", PVC: "logs", PVCUID: "uid-of-logs"},
		{ID: "old-3", Pod: "db-1", PVCUID: "uid-of-data"},
		{ID: "volume", Pod: "db-0", Volume: "scratch"},
	}
	refused := apierrors.NewForbidden(schema.GroupResource{Resource: "persistentvolumeclaims"}, "data", errors.New("no"))
	for name, test := range map[string]struct {
		claims []client.Object
		err    error
		args   []string
		want   []string
		says   []string
	}{
		"all": {want: []string{"named-1", "named-2", "old-1", "old-2", "old-3", "volume"}},
		"a claim by name and UID": {
			claims: []client.Object{claim("data", "uid-of-data")}, args: []string{"--claim=data"},
			want: []string{"named-1", "old-1", "old-3"},
		},
		"a claim and a pod": {
			claims: []client.Object{claim("data", "uid-of-data")}, args: []string{"--claim=data", "--pod=db-0"},
			want: []string{"named-1", "old-1"},
		},
		"a claim that does not exist": {
			args: []string{"--claim=data"}, want: []string{"named-1"},
			says: []string{"warning: 3 omitted: ", "Velero <= 1.16", `"data" not found`, "--pod"},
		},
		"a claim that does not exist, and a pod": {
			args: []string{"--claim=data", "--pod=db-1"}, says: []string{"warning: 1 omitted: "},
		},
		"a claim without permission to read it": {
			err: refused, args: []string{"--pvc=data"}, want: []string{"named-1"},
			says: []string{"warning: 3 omitted: ", "forbidden", "--pod"},
		},
		"a claim that does not exist, without candidates": {
			args: []string{"--claim=data", "--backup=b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pod := &corev1.Pod{ObjectMeta: meta("restic-snapshots-1-x")}
				pod.Labels = map[string]string{batchv1.JobNameLabel: "restic-snapshots-1"}
				world := newCluster(t, append(test.claims, shop(), pod, agents(3), leader())...)
				world.adapt = func(env *command.Environment) {
					env.NewClientset = func(*rest.Config) (kubernetes.Interface, error) {
						return kubernetes.NewForConfig(&rest.Config{Host: "https://192.0.2.1", Transport: listed})
					}
					env.NewClient = func(*rest.Config) (client.WithWatch, error) {
						return interceptor.NewClient(world.api, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch,
							key client.ObjectKey, object client.Object, opts ...client.GetOption,
						) error {
							if _, claim := object.(*corev1.PersistentVolumeClaim); claim && test.err != nil {
								return test.err
							}
							return c.Get(ctx, key, object, opts...)
						}}), nil
					}
				}
				go func() {
					world.pass(1)
					world.listing(resticv1.MaintenanceSucceeded, "", "6 snapshots")
				}()
				got := world.run(t.Context(), append([]string{"repo", "snapshots", "shop", "-o", "json"}, test.args...)...)
				var found []snapshotlist.Snapshot
				if err := json.Unmarshal([]byte(got.out), &found); err != nil || got.code != command.ExitOK {
					t.Fatalf("%v: %+v", err, got)
				}
				var names []string
				for _, snapshot := range found {
					names = append(names, snapshot.ID)
				}
				slices.Sort(names)
				if diff := cmp.Diff(test.want, names); diff != "" {
					t.Errorf("listed (-want +got):\n%s", diff)
				}
				for _, part := range test.says {
					if !strings.Contains(got.err, part) {
						t.Errorf("the warning does not contain %q: %s", part, got.err)
					}
				}
				if len(test.says) == 0 && got.err != "" {
					t.Errorf("unexpected warning: %s", got.err)
				}
			})
		})
	}
}
