// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/cli/repository"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

const veleroNamespace = "velero"

// cluster is the cluster of a command.
type cluster struct {
	t   *testing.T
	api client.WithWatch
	// adapt changes the command's environment if it is set.
	adapt func(env *command.Environment)
}

func meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: veleroNamespace, Name: name}
}

// shop returns the repository of namespace shop.
func shop() *resticv1.ResticRepository {
	r := &resticv1.ResticRepository{ObjectMeta: meta("shop-default-1")}
	r.Labels = map[string]string{contract.LabelStorageLocation: "default"}
	r.CreationTimestamp = metav1.NewTime(time.Now().Add(-48 * time.Hour))
	r.Spec.VolumeNamespace, r.Spec.BackupStorageLocation = "shop", "default"
	r.Status.Phase, r.Status.ResticIdentifier = resticv1.RepositoryReady, "s3:https://minio/bucket/restic/shop"
	return r
}

// agents returns the DaemonSet with this number of ready pods.
func agents(ready int32) *appsv1.DaemonSet {
	d := &appsv1.DaemonSet{ObjectMeta: meta(contract.DaemonSetName)}
	d.Status.NumberReady, d.Status.DesiredNumberScheduled = ready, 3
	return d
}

// velero returns the Deployment of Velero's server.
func velero() *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: meta(contract.VeleroDeployment)}
}

// leader returns the Lease of the leading agent.
func leader() *coordinationv1.Lease {
	l := &coordinationv1.Lease{ObjectMeta: meta(contract.LeaderLeaseName)}
	l.Spec.HolderIdentity, l.Spec.RenewTime = ptr.To("node-1"), ptr.To(metav1.NewMicroTime(time.Now()))
	return l
}

func newCluster(t *testing.T, objects ...client.Object) *cluster {
	t.Helper()
	scheme, err := command.NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	api := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&resticv1.ResticRepository{}).WithStatusSubresource(&appsv1.DaemonSet{}).Build()
	return &cluster{t: t, api: api}
}

// ended is the result of a command.
type ended struct {
	code     command.ExitCode
	out, err string
}

func (c *cluster) run(ctx context.Context, args ...string) ended {
	var out, errOut bytes.Buffer
	env := command.NewEnvironment(genericiooptions.IOStreams{Out: &out, ErrOut: &errOut}, command.Screen{}, veleroNamespace)
	server := "https://192.0.2.1"
	env.Kube.APIServer = &server
	env.NewClient = func(*rest.Config) (client.WithWatch, error) { return c.api, nil }
	if c.adapt != nil {
		c.adapt(env)
	}
	root := command.Group(newRoot(env), repository.Command(env))
	code := command.Execute(ctx, env, root, args)
	return ended{code: code, out: out.String(), err: errOut.String()}
}

func (c *cluster) shop() *resticv1.ResticRepository { return c.repository(shop().Name) }

func (c *cluster) repository(name string) *resticv1.ResticRepository {
	c.t.Helper()
	found := &resticv1.ResticRepository{}
	key := client.ObjectKey{Namespace: veleroNamespace, Name: name}
	if err := c.api.Get(context.WithoutCancel(c.t.Context()), key, found); err != nil {
		c.t.Fatal(err)
	}
	return found
}

// change updates the repository's status in the same way as the leader, with the request as served.
func (c *cluster) change(change func(status *resticv1.ResticRepositoryStatus, requestID string)) {
	c.t.Helper()
	repository := c.shop()
	requestID := repository.Spec.Requests.Check
	repository.Status.Served.Check = requestID
	change(&repository.Status, requestID)
	if err := c.api.Status().Update(context.WithoutCancel(c.t.Context()), repository); err != nil {
		c.t.Fatal(err)
	}
}

// check returns the entry of a requested check.
func check(requestID string, result resticv1.MaintenanceResult, message string) resticv1.Maintenance {
	entry := resticv1.Maintenance{
		Operation: resticv1.OperationCheck, Request: requestID, Job: "restic-check-1", Result: result, Message: message,
		StartTime: metav1.Now(),
	}
	if result != resticv1.MaintenanceRunning {
		entry.CompletionTime, entry.Duration = ptr.To(metav1.Now()), &metav1.Duration{Duration: 7 * time.Second}
	}
	return entry
}

// entries replaces the entries in status.maintenance.
func (c *cluster) entries(entry func(requestID string) resticv1.Maintenance) {
	c.change(func(status *resticv1.ResticRepositoryStatus, requestID string) {
		status.Maintenance = []resticv1.Maintenance{entry(requestID)}
	})
}

// pass waits while the leader renews its Lease.
func (c *cluster) pass(seconds int) {
	for range seconds {
		time.Sleep(time.Second)
		lease := leader()
		if err := c.api.Patch(context.WithoutCancel(c.t.Context()), lease, client.Merge); err != nil {
			return // there is none in this case
		}
	}
}

func TestFollow(t *testing.T) {
	cases := map[string]struct {
		args    []string
		cluster func(c *cluster)
		code    command.ExitCode
		out     string
		errs    []string
	}{
		"all states, with success": {
			cluster: func(c *cluster) {
				c.pass(2)
				repository := c.shop()
				repository.Status.Pending = &resticv1.PendingMaintenance{
					Operation: resticv1.OperationCheck, Request: repository.Spec.Requests.Check, Since: metav1.Now(),
					Reason: resticv1.WaitingForBackup, Message: "PodVolumeBackup b is in progress",
				}
				if err := c.api.Status().Update(c.t.Context(), repository); err != nil {
					c.t.Error(err)
				}
				c.pass(2)
				c.entries(func(w string) resticv1.Maintenance {
					entry := check(w, resticv1.MaintenanceRunning, "its pod is not running")
					entry.Reason = resticv1.WaitingForPod
					return entry
				})
				c.pass(2)
				c.entries(func(w string) resticv1.Maintenance { return check(w, resticv1.MaintenanceRunning, "") })
				c.pass(100)
				c.entries(func(w string) resticv1.Maintenance { return check(w, resticv1.MaintenanceLocked, "by\nnode-\x1b9") })
				c.pass(2)
				c.entries(func(w string) resticv1.Maintenance { return check(w, resticv1.MaintenanceSucceeded, "no errors") })
			},
			out: `check requested
queued
queued, waiting: PodVolumeBackup b is in progress
Job restic-check-1 is waiting: its pod is not running
Job restic-check-1 is running
postponed, will be retried: by node-?9
done after 7s: no errors
`,
		},
		"an agent without reasons": {
			cluster: func(c *cluster) {
				c.pass(2)
				repository := c.shop()
				repository.Status.Conditions = []metav1.Condition{{
					Type: resticv1.ConditionMaintained, Status: metav1.ConditionFalse, Reason: resticv1.ReasonWaiting,
					Message: "Check is due since 2000-01-01T00:00:00Z and waits: PodVolumeBackup b is in progress",
				}}
				if err := c.api.Status().Update(c.t.Context(), repository); err != nil {
					c.t.Error(err)
				}
				c.pass(2)
				c.entries(func(w string) resticv1.Maintenance {
					return check(w, resticv1.MaintenanceRunning, "waiting for its pod to run")
				})
				c.pass(2)
				c.entries(func(w string) resticv1.Maintenance { return check(w, resticv1.MaintenanceSucceeded, "no errors") })
			},
			out: `check requested
queued
queued: Check is due since 2000-01-01T00:00:00Z and waits: PodVolumeBackup b is in progress
Job restic-check-1: waiting for its pod to run
done after 7s: no errors
`,
		},
		"damage": {
			cluster: func(c *cluster) {
				c.pass(1)
				c.entries(func(w string) resticv1.Maintenance {
					entry := check(w, resticv1.MaintenanceFailed, "2 packs are missing")
					entry.Damaged = true
					return entry
				})
			},
			code: command.ExitProblemFound, out: "check requested\nqueued\nDAMAGED, found after 7s: 2 packs are missing\n",
			errs: []string{"1 of 1 repositories are damaged", "docs/maintenance.md"},
		},
		"a failure without damage": {
			cluster: func(c *cluster) {
				c.pass(1)
				c.entries(func(w string) resticv1.Maintenance { return check(w, resticv1.MaintenanceFailed, "killed") })
			},
			code: command.ExitFailure, out: "check requested\nqueued\nfailed after 7s: killed\n",
			errs: []string{"check failed for 1 of 1", "logs job/restic-check-1"},
		},
		"a timeout": {
			args: []string{"--timeout", "3s"}, cluster: func(c *cluster) { c.pass(5) }, code: command.ExitTimeout,
			out: "check requested\nqueued\n", errs: []string{
				"1 of 1 are not finished after 3s: shop-default-1: queued\n", "the request stays",
			},
		},
		"the repository is deleted": {
			cluster: func(c *cluster) {
				c.pass(1)
				if err := c.api.Delete(c.t.Context(), shop()); err != nil {
					c.t.Error(err)
				}
			},
			code: command.ExitFailure, out: "check requested\nqueued\nthe ResticRepository was deleted\n",
			errs: []string{"check ended with an unknown result for 1 of 1 repositories"},
		},
		"the result is no longer in the status": {
			cluster: func(c *cluster) {
				c.pass(1)
				c.change(func(*resticv1.ResticRepositoryStatus, string) {})
			},
			code: command.ExitFailure,
			out:  "check requested\nqueued\nfinished, and status.maintenance no longer has the result\n",
			errs: []string{"check ended with an unknown result for 1 of 1 repositories", "look at its Events"},
		},
		"--no-wait": {
			args: []string{"--no-wait"}, out: "check requested\nTo see the result: velero-restic repo get NAME -o yaml, " +
				"status.maintenance\n",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world := newCluster(t, shop(), agents(3), leader())
				var others sync.WaitGroup
				defer others.Wait()
				if c.cluster != nil {
					others.Go(func() { c.cluster(world) })
				}
				got := world.run(t.Context(), append([]string{"repo", "check", "shop"}, c.args...)...)
				if diff := cmp.Diff(c.out, strings.ReplaceAll(got.out, "shop-default-1: ", "")); diff != "" || got.code != c.code {
					t.Errorf("exit code %d, want %d (-want +got):\n%s%s", got.code, c.code, diff, got.err)
				}
				for _, part := range c.errs {
					if !strings.Contains(got.err, part) {
						t.Errorf("the error does not contain %q:\n%s", part, got.err)
					}
				}
			})
		})
	}
}

func TestFollowEndsWithCtrlC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := newCluster(t, shop(), agents(3), leader())
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		got := world.run(ctx, "repo", "prune", "shop")
		if got.code != command.ExitInterrupted || !strings.Contains(got.err, "the request stays") {
			t.Errorf("got %+v", got)
		}
		if world.shop().Spec.Requests.Prune == "" {
			t.Error("the request was removed")
		}
	})
}

func TestNoAgent(t *testing.T) {
	none := agents(0)
	none.Status.DesiredNumberScheduled = 0
	cases := map[string]struct {
		objects []client.Object
		says    string
		limit   time.Duration
		sent    bool
	}{
		"no DaemonSet":       {says: "there is no DaemonSet velero/restic"},
		"no ready pod":       {objects: []client.Object{agents(0)}, says: "0 of 3 pods are ready"},
		"no matching node":   {objects: []client.Object{none}, says: "matches no node"},
		"no leader":          {objects: []client.Object{agents(3)}, says: "no agent is the leader", limit: time.Minute, sent: true},
		"the leader is gone": {objects: []client.Object{agents(3), leader()}, says: "no agent is the leader", limit: time.Minute, sent: true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world, start := newCluster(t, append(c.objects, shop())...), time.Now()
				got := world.run(t.Context(), "repo", "unlock", "--all")
				if got.code != command.ExitFailure || !strings.Contains(got.err, c.says) || !strings.Contains(got.err, "next:") {
					t.Errorf("got %+v", got)
				}
				if took := time.Since(start); took > c.limit {
					t.Errorf("it took %s", took)
				}
				if sent := world.shop().Spec.Requests.Unlock != ""; sent != c.sent {
					t.Errorf("request sent: %v", sent)
				}
			})
		})
	}
}

func TestExistingRequest(t *testing.T) {
	for name, test := range map[string]struct {
		wanted, served string
		maintenance    []resticv1.Maintenance
		followed       bool
	}{
		"queued":  {wanted: "mine", served: "earlier", followed: true},
		"running": {"mine", "mine", []resticv1.Maintenance{check("mine", resticv1.MaintenanceRunning, "")}, true},
		"postponed": {
			"mine", "mine", []resticv1.Maintenance{check("mine", resticv1.MaintenanceLocked, "by node-9")}, true,
		},
		"finished": {
			"mine", "mine", []resticv1.Maintenance{check("mine", resticv1.MaintenanceSucceeded, "")}, false,
		},
		"finished, and running again by schedule": {"mine", "mine", []resticv1.Maintenance{
			check("", resticv1.MaintenanceRunning, ""), check("mine", resticv1.MaintenanceSucceeded, ""),
		}, false},
		"of another operation": {
			maintenance: []resticv1.Maintenance{list("mine", resticv1.MaintenanceRunning, "")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			repository := shop()
			repository.Spec.Requests.Check, repository.Status.Served.Check = test.wanted, test.served
			repository.Status.Maintenance = test.maintenance
			world := newCluster(t, repository, agents(3), leader())
			got := world.run(t.Context(), "repo", "check", "shop-default-1", "--no-wait")
			same := world.shop().Spec.Requests.Check == test.wanted
			if got.code != command.ExitOK || strings.Contains(got.out, "already requested") != test.followed || same != test.followed {
				t.Errorf("got %+v, the request ID is %q", got, world.shop().Spec.Requests.Check)
			}
		})
	}
}

// TestExistingRequestIsFollowed starts while a requested check is running.
func TestExistingRequestIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		repository := shop()
		repository.Spec.Requests.Check, repository.Status.Served.Check = "mine", "mine"
		repository.Status.Maintenance = []resticv1.Maintenance{check("mine", resticv1.MaintenanceRunning, "")}
		world := newCluster(t, repository, agents(3), leader())
		go func() {
			world.pass(3)
			world.entries(func(w string) resticv1.Maintenance { return check(w, resticv1.MaintenanceSucceeded, "no errors") })
		}()
		got := world.run(t.Context(), "repo", "check", "shop")
		want := "check already requested, following that request\nJob restic-check-1 is running\ndone after 7s: no errors\n"
		if diff := cmp.Diff(want, strings.ReplaceAll(got.out, "shop-default-1: ", "")); diff != "" || got.code != command.ExitOK {
			t.Errorf("exit code %d (-want +got):\n%s%s", got.code, diff, got.err)
		}
	})
}

func TestCommandLine(t *testing.T) {
	other := shop()
	other.Name, other.Spec.BackupStorageLocation = "shop-second-2", "second"
	// cspell:ignore shap
	cases := map[string]struct {
		args []string
		code command.ExitCode
		says string
	}{
		"no name":                           {args: []string{"repo", "check"}, code: command.ExitUsage, says: "or --all"},
		"names and --all":                   {args: []string{"repo", "check", "x", "--all"}, code: command.ExitUsage, says: "not both"},
		"an invalid timeout":                {args: []string{"repo", "check", "x", "--timeout=0s"}, code: command.ExitUsage, says: "more than 0"},
		"an unknown name":                   {args: []string{"repo", "check", "shap"}, code: command.ExitFailure, says: "there are: shop-default-1, shop-second-2"},
		"a namespace with two repositories": {args: []string{"repo", "check", "shop"}, code: command.ExitFailure, says: "name one of them: shop-default-1, shop-second-2"},
		"names and a selector":              {args: []string{"repo", "get", "x", "-l", "a=b"}, code: command.ExitUsage, says: "not both"},
		"a selector without matches":        {args: []string{"repo", "get", "-l", "a=="}, code: command.ExitOK},
		"an invalid selector":               {args: []string{"repo", "get", "-l", "=="}, code: command.ExitUsage, says: "--selector"},
		"a list without a repository":       {args: []string{"repo", "snapshots"}, code: command.ExitUsage, says: "accepts 1 arg"},
		"a claim by both names of the flag": {args: []string{"repo", "snapshots", "x", "--claim=a", "--pvc=a"}, code: command.ExitUsage, says: "[claim pvc]"},
		"an unknown name to print":          {args: []string{"repo", "get", "nowhere"}, code: command.ExitFailure, says: `there is no ResticRepository "nowhere"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			got := newCluster(t, velero(), shop(), other).run(t.Context(), c.args...)
			if got.code != c.code || !strings.Contains(got.err, c.says) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// TestRunningListIsNotFollowed requests a new list, because the running one may lack new snapshots.
func TestRunningListIsNotFollowed(t *testing.T) {
	repository := shop()
	repository.Spec.Requests.Snapshots, repository.Status.Served.Snapshots = "mine", "mine"
	repository.Status.Maintenance = []resticv1.Maintenance{list("mine", resticv1.MaintenanceRunning, "")}
	world := newCluster(t, repository, agents(3), leader())
	synctest.Test(t, func(t *testing.T) {
		got := world.run(t.Context(), "repo", "snapshots", "shop", "--timeout=1s")
		if requestID := world.shop().Spec.Requests.Snapshots; requestID == "mine" || got.code != command.ExitTimeout {
			t.Errorf("got %+v, the request ID is %q", got, requestID)
		}
	})
}

// TestConflictIsRetried lets the first write fail. The client of a real API server keeps fields in an object that the
// response does not have.
func TestConflictIsRetried(t *testing.T) {
	world := newCluster(t, shop(), agents(3), leader())
	refused := false
	world.api = interceptor.NewClient(world.api, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch,
			opts ...client.PatchOption,
		) error {
			if !refused {
				refused = true
				return apierrors.NewConflict(schema.GroupResource{Resource: "resticrepositories"}, object.GetName(), nil)
			}
			return c.Patch(ctx, object, patch, opts...)
		},
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object,
			opts ...client.GetOption,
		) error {
			into, isRepository := object.(*resticv1.ResticRepository)
			if !isRepository {
				return c.Get(ctx, key, object, opts...)
			}
			answer := &resticv1.ResticRepository{}
			if err := c.Get(ctx, key, answer, opts...); err != nil {
				return err
			}
			content, err := json.Marshal(answer)
			if err != nil {
				return err
			}
			return json.Unmarshal(content, into)
		},
	})
	got := world.run(t.Context(), "repo", "check", "shop-default-1", "--no-wait")
	if got.code != command.ExitOK || !strings.Contains(got.out, "check requested") || world.shop().Spec.Requests.Check == "" {
		t.Errorf("got %+v, the request ID is %q", got, world.shop().Spec.Requests.Check)
	}
}
