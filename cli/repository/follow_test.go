// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
)

// blog returns another repository.
func blog() *resticv1.ResticRepository {
	r := shop()
	r.Name, r.Spec.VolumeNamespace = "blog-default-1", "blog"
	return r
}

// intercept passes the commands' requests, and not those of the test, to functions.
func (c *cluster) intercept(funcs interceptor.Funcs) {
	c.adapt = func(env *command.Environment) {
		env.NewClient = func(*rest.Config) (client.WithWatch, error) { return interceptor.NewClient(c.api, funcs), nil }
	}
}

// checked finishes the check of a repository.
func (c *cluster) checked(name string, result resticv1.MaintenanceResult) {
	c.t.Helper()
	repository := c.repository(name)
	requestID := repository.Spec.Requests.Check
	repository.Status.Served.Check = requestID
	repository.Status.Maintenance = []resticv1.Maintenance{check(requestID, result, "message of the test")}
	if err := c.api.Status().Update(context.WithoutCancel(c.t.Context()), repository); err != nil {
		c.t.Fatal(err)
	}
}

// outage lets all requests fail for some time.
type outage struct {
	mu      sync.Mutex
	failure error
}

func (a *outage) set(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failure = err
}

func (a *outage) get() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failure
}

func (a *outage) funcs() interceptor.Funcs {
	return interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object,
			opts ...client.GetOption,
		) error {
			if err := a.get(); err != nil {
				return err
			}
			return c.Get(ctx, key, object, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if err := a.get(); err != nil {
				return err
			}
			return c.List(ctx, list, opts...)
		},
	}
}

func TestFollowDuringOutage(t *testing.T) {
	resource := schema.GroupResource{Group: resticv1.GroupName, Resource: resticv1.ResourceResticRepositories}
	for name, test := range map[string]struct {
		failure error
		gone    time.Duration
		args    []string
		code    command.ExitCode
		most    time.Duration
		notices int
		says    []string
	}{
		"two minutes": {
			failure: errors.New("connection refused"), gone: 2 * time.Minute, most: 3 * time.Minute, notices: 1,
			says: []string{"the API server does not answer", "connection refused", "the API server answers again"},
		},
		"too long": {
			failure: errors.New("connection refused"), gone: time.Hour, code: command.ExitFailure, most: 4 * time.Minute, notices: 1,
			says: []string{"has not answered for 3m0s", "connection refused", "next:  the request stays"},
		},
		"until --timeout": {
			failure: errors.New("connection refused"), gone: time.Hour, args: []string{"--timeout=20s"}, code: command.ExitTimeout,
			most: 21 * time.Second, notices: 1, says: []string{"not finished after 20s", "next:  the request stays"},
		},
		"a missing permission": {
			failure: apierrors.NewForbidden(resource, "", errors.New("no")), gone: time.Hour, code: command.ExitFailure,
			most: 10 * time.Second, says: []string{"forbidden", "examples/cli"},
		},
		"invalid credentials": {
			failure: apierrors.NewUnauthorized("who are you"), gone: time.Hour, code: command.ExitFailure, most: 10 * time.Second,
			says: []string{"log in again"},
		},
		"a missing kind": {
			failure: apierrors.NewGenericServerResponse(404, "get", resource, "", "404 page not found", 0, true),
			gone:    time.Hour, code: command.ExitFailure, most: 10 * time.Second, says: []string{"restic for Velero is not installed"},
		},
	} {
		for _, chosen := range []string{"shop", "--all"} {
			t.Run(name+", "+chosen, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					world, server, begun := newCluster(t, shop(), blog(), agents(3), leader()), &outage{}, time.Now()
					world.intercept(server.funcs())
					var others sync.WaitGroup
					defer others.Wait()
					others.Go(func() {
						world.pass(5)
						server.set(test.failure)
						time.Sleep(test.gone) // the leader cannot renew its Lease either
						server.set(nil)
						time.Sleep(10 * time.Second)
						world.pass(5)
						for _, name := range []string{"shop-default-1", "blog-default-1"} {
							if world.repository(name).Spec.Requests.Check != "" {
								world.checked(name, resticv1.MaintenanceSucceeded)
							}
						}
					})
					got := world.run(t.Context(), append([]string{"repo", "check", chosen}, test.args...)...)
					if took := time.Since(begun); got.code != test.code || took > test.most {
						t.Errorf("after %s got %+v", took, got)
					}
					if notices := strings.Count(got.err, "retrying"); notices != test.notices {
						t.Errorf("%d notices: %s", notices, got.err)
					}
					for _, part := range test.says {
						if !strings.Contains(got.err, part) {
							t.Errorf("the error does not contain %q: %s", part, got.err)
						}
					}
				})
			})
		}
	}
}

// TestFollowContinuesWithTheOthers follows two repositories, of which one fails.
func TestFollowContinuesWithTheOthers(t *testing.T) {
	for name, test := range map[string]struct {
		falls func(c *cluster)
		out   []string
		err   string
	}{
		"one is deleted": {
			falls: func(c *cluster) {
				if err := c.api.Delete(c.t.Context(), blog()); err != nil {
					c.t.Error(err)
				}
			},
			out: []string{"blog-default-1: the ResticRepository was deleted\n"},
			err: "check ended with an unknown result for 1 of 2 repositories",
		},
		"the result of one is no longer in the status": {
			falls: func(c *cluster) {
				repository := c.repository("blog-default-1")
				repository.Status.Served.Check = repository.Spec.Requests.Check
				if err := c.api.Status().Update(c.t.Context(), repository); err != nil {
					c.t.Error(err)
				}
			},
			out: []string{"blog-default-1: finished, and status.maintenance no longer has the result\n"},
			err: "describe resticrepository blog-default-1",
		},
		"one fails": {
			falls: func(c *cluster) { c.checked("blog-default-1", resticv1.MaintenanceFailed) },
			out:   []string{"blog-default-1: failed after 7s: message of the test\n"},
			err:   "check failed for 1 of 2 repositories",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world := newCluster(t, shop(), blog(), agents(3), leader())
				go func() {
					world.pass(2)
					test.falls(world)
					world.pass(5)
					world.checked("shop-default-1", resticv1.MaintenanceSucceeded)
				}()
				got := world.run(t.Context(), "repo", "check", "--all")
				if got.code != command.ExitFailure || !strings.Contains(got.err, test.err) {
					t.Errorf("got %+v", got)
				}
				for _, line := range append(test.out, "shop-default-1: done after 7s: message of the test\n") {
					if !strings.Contains(got.out, line) {
						t.Errorf("the output does not contain %q: %s", line, got.out)
					}
				}
			})
		})
	}
}

// TestDamageOutweighsTheDeadline finds damage in one of two repositories, and the other check does not finish.
func TestDamageOutweighsTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newCluster(t, shop(), blog(), agents(3), leader())
		go func() {
			world.pass(2)
			world.entries(func(requestID string) resticv1.Maintenance {
				entry := check(requestID, resticv1.MaintenanceFailed, "a pack is gone")
				entry.Damaged = true
				return entry
			})
		}()
		got := world.run(t.Context(), "repo", "check", "--all", "--timeout=10s")
		for _, part := range []string{"1 of 2 repositories are damaged; and", "not finished after 10s", "docs/maintenance.md"} {
			if got.code != command.ExitProblemFound || !strings.Contains(got.err, part) {
				t.Errorf("the error does not contain %q: %+v", part, got)
			}
		}
	})
}

// TestPollingIsOneRequest counts the requests while following two repositories, of which one finishes early.
func TestPollingIsOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world, counts := newCluster(t, shop(), blog(), agents(3), leader()), map[string]int{}
		world.intercept(interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object,
				opts ...client.GetOption,
			) error {
				if _, ours := object.(*resticv1.ResticRepository); ours {
					counts["get "+key.Name]++
				}
				return c.Get(ctx, key, object, opts...)
			},
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
				counts["list"]++
				return c.List(ctx, list, opts...)
			},
		})
		go func() {
			time.Sleep(9500 * time.Millisecond)
			world.checked("blog-default-1", resticv1.MaintenanceSucceeded)
			time.Sleep(5 * time.Second)
			world.checked("shop-default-1", resticv1.MaintenanceSucceeded)
		}()
		if got := world.run(t.Context(), "repo", "check", "--all"); got.code != command.ExitOK {
			t.Errorf("got %+v", got)
		}
		// One list selects them, eleven lists read both, and five gets read the one that is left.
		if diff := cmp.Diff(map[string]int{"list": 12, "get shop-default-1": 5}, counts); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
}

// TestSendingContinuesWithTheOthers rejects the requests to some repositories.
func TestSendingContinuesWithTheOthers(t *testing.T) {
	refusal := apierrors.NewForbidden(schema.GroupResource{Group: resticv1.GroupName, Resource: "resticrepositories"}, "x",
		errors.New(`User "ann" cannot patch resource "resticrepositories" in API group "restic.velero.io" in the `+
			`namespace "velero"`))
	for name, test := range map[string]struct {
		args    []string
		refused []string
		sent    []string
		says    string
	}{
		"one of them": {
			args: []string{"--all"}, refused: []string{"blog-default-1"}, sent: []string{"shop-default-1"},
			says: "check could not be requested for 1 of 2 repositories",
		},
		"one of them, with --no-wait": {
			args: []string{"--all", "--no-wait"}, refused: []string{"blog-default-1"}, sent: []string{"shop-default-1"},
			says: "check could not be requested for 1 of 2 repositories",
		},
		"all of them": {
			args: []string{"--all"}, refused: []string{"blog-default-1", "shop-default-1"}, says: "permission to patch resource",
		},
		"the only one": {
			args: []string{"blog"}, refused: []string{"blog-default-1"}, says: "permission to patch resource",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world := newCluster(t, shop(), blog(), agents(3), leader())
				world.intercept(interceptor.Funcs{Patch: func(ctx context.Context, c client.WithWatch, object client.Object,
					patch client.Patch, opts ...client.PatchOption,
				) error {
					if slices.Contains(test.refused, object.GetName()) {
						return refusal
					}
					return c.Patch(ctx, object, patch, opts...)
				}})
				var others sync.WaitGroup
				defer others.Wait()
				others.Go(func() {
					world.pass(2)
					for _, name := range test.sent {
						world.checked(name, resticv1.MaintenanceSucceeded)
					}
				})
				got := world.run(t.Context(), append([]string{"repo", "check"}, test.args...)...)
				if got.code != command.ExitFailure || !strings.Contains(got.err, test.says) {
					t.Errorf("got %+v", got)
				}
				sent := map[string]bool{}
				for _, name := range []string{"blog-default-1", "shop-default-1"} {
					if world.repository(name).Spec.Requests.Check != "" {
						sent[name] = true
					}
				}
				if diff := cmp.Diff(test.sent, slices.Sorted(maps.Keys(sent))); diff != "" {
					t.Errorf("requests sent (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// request writes a request of someone else into the repository; "" removes the request.
func (c *cluster) request(requestID string) {
	c.t.Helper()
	repository := c.shop()
	repository.Spec.Requests.Check = requestID
	if err := c.api.Update(context.WithoutCancel(c.t.Context()), repository); err != nil {
		c.t.Fatal(err)
	}
}

// recreate deletes the repository's object and creates it again with a request.
func (c *cluster) recreate(requestID string) {
	c.t.Helper()
	if err := c.api.Delete(c.t.Context(), shop()); err != nil {
		c.t.Fatal(err)
	}
	created := shop()
	created.Spec.Requests.Check = requestID
	if err := c.api.Create(c.t.Context(), created); err != nil {
		c.t.Fatal(err)
	}
}

// TestReplacedRequest replaces or removes the request before it has finished.
func TestReplacedRequest(t *testing.T) {
	const replaced = "replaced by another request, following that one\n"
	for name, test := range map[string]struct {
		cluster func(c *cluster)
		code    command.ExitCode
		out     string
		err     string
	}{
		"by one that is queued": {
			cluster: func(c *cluster) {
				c.request("theirs")
				c.pass(2)
				c.checked("shop-default-1", resticv1.MaintenanceSucceeded)
			},
			out: replaced + "queued\ndone after 7s: message of the test\n",
		},
		"by one that starts immediately": {
			cluster: func(c *cluster) {
				c.entries(func(w string) resticv1.Maintenance { return check(w, resticv1.MaintenanceLocked, "by node-9") })
				c.pass(2)
				c.request("theirs")
				c.checked("shop-default-1", resticv1.MaintenanceFailed)
			},
			code: command.ExitFailure, out: "postponed, will be retried: by node-9\n" + replaced + "failed after 7s: message of the test\n",
			err: "check failed for 1 of 1",
		},
		"by one that is served and removed": {
			cluster: func(c *cluster) {
				c.request("theirs")
				c.checked("shop-default-1", resticv1.MaintenanceSucceeded)
				c.request("")
			},
			out: replaced + "done after 7s: message of the test\n",
		},
		"removed": {
			cluster: func(c *cluster) { c.request("") }, code: command.ExitFailure, out: "the request was removed\n",
			err: "next:  run the command again",
		},
		"by the one that was served before": {
			cluster: func(c *cluster) { c.request("earlier") }, code: command.ExitFailure, out: "the request was removed\n",
			err: "next:  run the command again",
		},
		"removed with its object, which is re-created": {
			cluster: func(c *cluster) { c.recreate("") }, code: command.ExitFailure, out: "the request was removed\n",
			err: "next:  run the command again",
		},
		"by another one in the re-created object": {
			cluster: func(c *cluster) {
				c.recreate("theirs")
				c.pass(2)
				c.checked("shop-default-1", resticv1.MaintenanceSucceeded)
			},
			out: replaced + "queued\ndone after 7s: message of the test\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				before := shop()
				before.Spec.Requests.Check, before.Status.Served.Check = "earlier", "earlier"
				before.Status.Maintenance = []resticv1.Maintenance{check("earlier", resticv1.MaintenanceSucceeded, "long ago")}
				world := newCluster(t, before, agents(3), leader())
				var others sync.WaitGroup
				defer others.Wait()
				others.Go(func() {
					time.Sleep(2500 * time.Millisecond)
					test.cluster(world)
					world.pass(5)
				})
				got := world.run(t.Context(), "repo", "check", "shop", "--timeout=1m")
				want := "check requested\nqueued\n" + test.out
				if diff := cmp.Diff(want, strings.ReplaceAll(got.out, "shop-default-1: ", "")); diff != "" || got.code != test.code ||
					!strings.Contains(got.err, test.err) {
					t.Errorf("exit code %d, want %d (-want +got):\n%s%s", got.code, test.code, diff, got.err)
				}
			})
		})
	}
}
