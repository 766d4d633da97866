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

// blog is another repository.
func blog() *resticv1.ResticRepository {
	r := shop()
	r.Name, r.Spec.VolumeNamespace = "blog-default-1", "blog"
	return r
}

// intercept has the commands' requests go through functions; those of the test itself do not.
func (c *cluster) intercept(funcs interceptor.Funcs) {
	c.adapt = func(env *command.Environment) {
		env.NewClient = func(*rest.Config) (client.WithWatch, error) { return interceptor.NewClient(c.api, funcs), nil }
	}
}

// checked ends the check of a repository.
func (c *cluster) checked(name string, result resticv1.MaintenanceResult) {
	c.t.Helper()
	repository := c.repository(name)
	word := repository.Spec.Requests.Check
	repository.Status.Served.Check = word
	repository.Status.Maintenance = []resticv1.Maintenance{check(word, result, "told by the test")}
	if err := c.api.Status().Update(context.WithoutCancel(c.t.Context()), repository); err != nil {
		c.t.Fatal(err)
	}
}

// away has all requests fail for a time.
type away struct {
	mu      sync.Mutex
	failure error
}

func (a *away) set(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failure = err
}

func (a *away) get() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failure
}

func (a *away) funcs() interceptor.Funcs {
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

func TestFollowOutlivesTheAPIServer(t *testing.T) {
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
		"that is away for two minutes": {
			failure: errors.New("connection refused"), gone: 2 * time.Minute, most: 3 * time.Minute, notices: 1,
			says: []string{"the API server does not answer", "connection refused", "the API server answers again"},
		},
		"not one that is away for long": {
			failure: errors.New("connection refused"), gone: time.Hour, code: command.ExitFailure, most: 4 * time.Minute, notices: 1,
			says: []string{"has been away for 3m0s", "connection refused", "next:  the request stays"},
		},
		"nor one that is away at the deadline": {
			failure: errors.New("connection refused"), gone: time.Hour, args: []string{"--timeout=20s"}, code: command.ExitTimeout,
			most: 21 * time.Second, notices: 1, says: []string{"not done after 20s", "next:  the request stays"},
		},
		"nor without a right": {
			failure: apierrors.NewForbidden(resource, "", errors.New("no")), gone: time.Hour, code: command.ExitFailure,
			most: 10 * time.Second, says: []string{"forbidden", "examples/cli"},
		},
		"nor as nobody": {
			failure: apierrors.NewUnauthorized("who are you"), gone: time.Hour, code: command.ExitFailure, most: 10 * time.Second,
			says: []string{"log in again"},
		},
		"nor without the kind": {
			failure: apierrors.NewGenericServerResponse(404, "get", resource, "", "404 page not found", 0, true),
			gone:    time.Hour, code: command.ExitFailure, most: 10 * time.Second, says: []string{"restic for Velero is not installed"},
		},
	} {
		for _, chosen := range []string{"shop", "--all"} {
			t.Run(name+", "+chosen, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					world, server, begun := newCluster(t, shop(), blog(), agents(3), leader()), &away{}, time.Now()
					world.intercept(server.funcs())
					var others sync.WaitGroup
					defer others.Wait()
					others.Go(func() {
						world.pass(5)
						server.set(test.failure)
						time.Sleep(test.gone) // the leader cannot reach it either
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
					if notices := strings.Count(got.err, "trying again"); notices != test.notices {
						t.Errorf("%d notices: %s", notices, got.err)
					}
					for _, word := range test.says {
						if !strings.Contains(got.err, word) {
							t.Errorf("it does not say %q: %s", word, got.err)
						}
					}
				})
			})
		}
	}
}

// TestFollowGoesOnWithTheOthers has one of two repositories fall out.
func TestFollowGoesOnWithTheOthers(t *testing.T) {
	for name, test := range map[string]struct {
		falls func(c *cluster)
		out   []string
		err   string
	}{
		"when one is deleted": {
			falls: func(c *cluster) {
				if err := c.api.Delete(c.t.Context(), blog()); err != nil {
					c.t.Error(err)
				}
			},
			out: []string{"blog-default-1: the ResticRepository was deleted\n"},
			err: "check could not be followed to its end in 1 of 2 repositories",
		},
		"when the result of one is no longer remembered": {
			falls: func(c *cluster) {
				repository := c.repository("blog-default-1")
				repository.Status.Served.Check = repository.Spec.Requests.Check
				if err := c.api.Status().Update(c.t.Context(), repository); err != nil {
					c.t.Error(err)
				}
			},
			out: []string{"blog-default-1: it was done, and its result is no longer remembered\n"},
			err: "describe resticrepository blog-default-1",
		},
		"when one fails": {
			falls: func(c *cluster) { c.checked("blog-default-1", resticv1.MaintenanceFailed) },
			out:   []string{"blog-default-1: failed after 7s: told by the test\n"},
			err:   "check has failed for 1 of 2 repositories",
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
				for _, line := range append(test.out, "shop-default-1: done after 7s: told by the test\n") {
					if !strings.Contains(got.out, line) {
						t.Errorf("it does not say %q: %s", line, got.out)
					}
				}
			})
		})
	}
}

// TestDamageOutweighsTheDeadline has one of two repositories be damaged, and the other's check not come to its end.
func TestDamageOutweighsTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newCluster(t, shop(), blog(), agents(3), leader())
		go func() {
			world.pass(2)
			world.entries(func(word string) resticv1.Maintenance {
				entry := check(word, resticv1.MaintenanceFailed, "a pack is gone")
				entry.Damaged = true
				return entry
			})
		}()
		got := world.run(t.Context(), "repo", "check", "--all", "--timeout=10s")
		for _, part := range []string{"1 of 2 repositories are damaged; and", "not done after 10s", "docs/maintenance.md"} {
			if got.code != command.ExitProblemFound || !strings.Contains(got.err, part) {
				t.Errorf("it does not say %q: %+v", part, got)
			}
		}
	})
}

// TestALookIsOneRequest counts what following two repositories costs, of which one is soon done.
func TestALookIsOneRequest(t *testing.T) {
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
		// One list chooses them, eleven look at both, and five looks are at the one that is left.
		if diff := cmp.Diff(map[string]int{"list": 12, "get shop-default-1": 5}, counts); diff != "" {
			t.Errorf("requests (-want +got):\n%s", diff)
		}
	})
}

// TestAskingGoesOnWithTheOthers has the API server refuse to have some repositories asked.
func TestAskingGoesOnWithTheOthers(t *testing.T) {
	refusal := apierrors.NewForbidden(schema.GroupResource{Group: resticv1.GroupName, Resource: "resticrepositories"}, "x",
		errors.New(`User "ann" cannot patch resource "resticrepositories" in API group "restic.velero.io" in the `+
			`namespace "velero"`))
	for name, test := range map[string]struct {
		args    []string
		refused []string
		asked   []string
		says    string
	}{
		"one of them": {
			args: []string{"--all"}, refused: []string{"blog-default-1"}, asked: []string{"shop-default-1"},
			says: "check could not be asked for in 1 of 2 repositories",
		},
		"one of them, and nobody waits": {
			args: []string{"--all", "--no-wait"}, refused: []string{"blog-default-1"}, asked: []string{"shop-default-1"},
			says: "check could not be asked for in 1 of 2 repositories",
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
					for _, name := range test.asked {
						world.checked(name, resticv1.MaintenanceSucceeded)
					}
				})
				got := world.run(t.Context(), append([]string{"repo", "check"}, test.args...)...)
				if got.code != command.ExitFailure || !strings.Contains(got.err, test.says) {
					t.Errorf("got %+v", got)
				}
				asked := map[string]bool{}
				for _, name := range []string{"blog-default-1", "shop-default-1"} {
					if world.repository(name).Spec.Requests.Check != "" {
						asked[name] = true
					}
				}
				if diff := cmp.Diff(test.asked, slices.Sorted(maps.Keys(asked))); diff != "" {
					t.Errorf("asked (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// ask has somebody else write a word into the repository; an empty one takes what is there away.
func (c *cluster) ask(word string) {
	c.t.Helper()
	repository := c.shop()
	repository.Spec.Requests.Check = word
	if err := c.api.Update(context.WithoutCancel(c.t.Context()), repository); err != nil {
		c.t.Fatal(err)
	}
}

// again deletes the repository's object and makes it anew at once, with a request.
func (c *cluster) again(word string) {
	c.t.Helper()
	if err := c.api.Delete(c.t.Context(), shop()); err != nil {
		c.t.Fatal(err)
	}
	anew := shop()
	anew.Spec.Requests.Check = word
	if err := c.api.Create(c.t.Context(), anew); err != nil {
		c.t.Fatal(err)
	}
}

// TestFollowAReplacedRequest takes the request out of the repository before it is done.
func TestFollowAReplacedRequest(t *testing.T) {
	const replaced = "replaced by another request, which is followed\n"
	for name, test := range map[string]struct {
		cluster func(c *cluster)
		code    command.ExitCode
		out     string
		err     string
	}{
		"by another one, which waits": {
			cluster: func(c *cluster) {
				c.ask("theirs")
				c.pass(2)
				c.checked("shop-default-1", resticv1.MaintenanceSucceeded)
			},
			out: replaced + "queued\ndone after 7s: told by the test\n",
		},
		"by another one, which is begun at once": {
			cluster: func(c *cluster) {
				c.entries(func(w string) resticv1.Maintenance { return check(w, resticv1.MaintenanceLocked, "by node-9") })
				c.pass(2)
				c.ask("theirs")
				c.checked("shop-default-1", resticv1.MaintenanceFailed)
			},
			code: command.ExitFailure, out: "put off, and tried again: by node-9\n" + replaced + "failed after 7s: told by the test\n",
			err: "check has failed for 1 of 1",
		},
		"by another one, which is served and taken away": {
			cluster: func(c *cluster) {
				c.ask("theirs")
				c.checked("shop-default-1", resticv1.MaintenanceSucceeded)
				c.ask("")
			},
			out: replaced + "done after 7s: told by the test\n",
		},
		"by nothing": {
			cluster: func(c *cluster) { c.ask("") }, code: command.ExitFailure, out: "the request is gone\n", err: "next:  ask again",
		},
		"by the one that was served before": {
			cluster: func(c *cluster) { c.ask("earlier") }, code: command.ExitFailure, out: "the request is gone\n",
			err: "next:  ask again",
		},
		"with its object, which is made anew": {
			cluster: func(c *cluster) { c.again("") }, code: command.ExitFailure, out: "the request is gone\n",
			err: "next:  ask again",
		},
		"with its object, which is made anew with another one": {
			cluster: func(c *cluster) {
				c.again("theirs")
				c.pass(2)
				c.checked("shop-default-1", resticv1.MaintenanceSucceeded)
			},
			out: replaced + "queued\ndone after 7s: told by the test\n",
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
				want := "check asked for\nqueued\n" + test.out
				if diff := cmp.Diff(want, strings.ReplaceAll(got.out, "shop-default-1: ", "")); diff != "" || got.code != test.code ||
					!strings.Contains(got.err, test.err) {
					t.Errorf("it ended with %d, want %d (-want +got):\n%s%s", got.code, test.code, diff, got.err)
				}
			})
		})
	}
}
