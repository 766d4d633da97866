// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package operation

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/stranded"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster/clustertest"
)

func TestID(t *testing.T) {
	long := strings.Repeat("b", 240) // its derived names do not begin with all of it
	for name, test := range map[string]struct {
		owner, want string
		objects     []string
	}{
		"a name made from the owner's is written as its digest": {
			owner: "nightly", objects: []string{contract.BackupVolumeName("nightly", "uid", "a")},
			want: "app/web-0/cd3c4c54c8bc52cbb0a4",
		},
		"a name that is not stays whole": {
			owner: "nightly", objects: []string{"other-cd3c4c54c8bc52cbb0a4"}, want: "app/web-0/other-cd3c4c54c8bc52cbb0a4",
		},
		"a name that was cut stays whole": {
			owner: long, objects: []string{contract.BackupVolumeName(long, "uid", "a"), "x-1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			id := ID{Namespace: "app", Pod: "web-0", Objects: test.objects}
			value := id.String(test.owner)
			if test.want != "" && len(value) != len(test.want) {
				t.Errorf("operation ID is %q, want one as long as %q", value, test.want)
			}
			got, err := Parse(value, test.owner)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(id, got); diff != "" {
				t.Errorf("what was read differs (-want +got):\n%s", diff)
			}
		})
	}
	for _, foreign := range []string{"", "du-1234", "app/web-0/", "/web-0/x", "a/b/c/d"} {
		if _, err := Parse(foreign, "nightly"); err == nil || !strings.Contains(err.Error(), foreign) {
			t.Errorf("reading %q: error %v does not name it", foreign, err)
		}
	}
}

// object returns a PodVolumeBackup that was made so long ago.
func object(name string, age time.Duration, change func(*resticv1.PodVolumeBackup)) *resticv1.PodVolumeBackup {
	out := &resticv1.PodVolumeBackup{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: clustertest.Velero, Name: name, CreationTimestamp: metav1.NewTime(clustertest.Now().Add(-age)),
		},
		Spec: resticv1.PodVolumeBackupSpec{
			Volume: name, Node: clustertest.Node, Timeout: metav1.Duration{Duration: time.Hour},
		},
	}
	if change != nil {
		change(out)
	}
	return out
}

func tracker(c *cluster.Cluster) *Tracker {
	t := &Tracker{Cluster: c, Kind: "PodVolumeBackup"}
	t.Read = func(name string) (*Volume, error) {
		var out resticv1.PodVolumeBackup
		if err := c.Get(c.Namespace, name, &out); err != nil {
			return nil, err
		}
		return BackupVolume(&out), nil
	}
	t.Evaluate = func(_ *Volume, since time.Time) (stranded.Verdict, error) {
		return t.EvaluateAgent(clustertest.Node, since)
	}
	return t
}

func phase(p resticv1.VolumePhase, done, total int64, message string) func(*resticv1.PodVolumeBackup) {
	return func(object *resticv1.PodVolumeBackup) {
		object.Status.Phase, object.Status.Message = p, message
		object.Status.Progress = resticv1.VolumeProgress{BytesDone: done, TotalBytes: total}
	}
}

func TestProgress(t *testing.T) {
	at := metav1.NewTime(clustertest.Now().Add(-30 * time.Second))
	beat := metav1.NewTime(clustertest.Now().Add(-5 * time.Second))
	for name, test := range map[string]struct {
		objects []client.Object
		ids     []string
		want    velero.OperationProgress
	}{
		"all are done": {
			objects: []client.Object{
				object("data", time.Minute, phase(resticv1.PhaseCompleted, 10<<20, 10<<20, "")),
				object("cache", time.Minute, func(o *resticv1.PodVolumeBackup) {
					phase(resticv1.PhaseCompleted, 3, 2, "")(o)
					o.Status.WarningCount = 2
				}),
			},
			want: velero.OperationProgress{
				Completed: true, NCompleted: 10<<20 + 3, NTotal: 10<<20 + 3,
				Description: "data: Completed, 10.0 MiB; cache: Completed, 3 B, 2 warnings",
			},
		},
		"one is in progress and one waits": {
			objects: []client.Object{
				object("data", time.Minute, func(o *resticv1.PodVolumeBackup) {
					phase(resticv1.PhaseInProgress, 512, 2048, "")(o)
					o.Status.StartTimestamp, o.Status.HeartbeatTimestamp = &at, &beat
				}),
				object("cache", time.Minute, phase(resticv1.PhaseNew, 0, 0, "repository is not ready: no password")),
			},
			want: velero.OperationProgress{
				NCompleted: 512, NTotal: 2048, Started: at.Time, Updated: beat.Time,
				Description: "data: InProgress, 512 B of 2.0 KiB; cache: waiting: repository is not ready: no password",
			},
		},
		"a failure is reported at the end, and not before": {
			objects: []client.Object{
				object("data", time.Minute, phase(resticv1.PhaseFailed, 1, 5, "exit code 1")),
				object("cache", time.Minute, nil),
			},
			want: velero.OperationProgress{
				NCompleted: 1, NTotal: 5, Description: "data: Failed, exit code 1; cache: waiting: for its agent",
			},
		},
		"every failure is reported": {
			objects: []client.Object{
				object("data", time.Minute, phase(resticv1.PhaseFailed, 0, 0, "exit code 1")),
				object("cache", time.Minute, phase(resticv1.PhaseCanceled, 0, 0, "")),
				object("tmp", time.Minute, phase(resticv1.PhaseCompleted, 0, 0, "")),
			},
			want: velero.OperationProgress{
				Completed:   true,
				Err:         "volume data of pod app/web: volume data: exit code 1; volume cache: no reason was given",
				Description: "data: Failed, exit code 1; cache: Canceled, no reason was given; tmp: Completed, 0 B",
			},
		},
		"a skipped volume is done before its phase says so, and no failure": {
			objects: []client.Object{object("host", time.Hour*2, func(o *resticv1.PodVolumeBackup) {
				o.Spec.Skip = &resticv1.SkipReason{Reason: "HostPath", Message: "it is a hostPath"}
			})},
			want: velero.OperationProgress{Completed: true, Description: "host: Skipped, it is a hostPath"},
		},
		"a deleted object is an error that names it": {
			ids: []string{"data"},
			want: velero.OperationProgress{
				Completed: true,
				Err: "volume data of pod app/web: " +
					"PodVolumeBackup velero-ns/data was deleted before its volume was done",
				Description: "PodVolumeBackup velero-ns/data was deleted before its volume was done",
			},
		},
		"a volume past its deadline ends the operation": {
			objects: []client.Object{object("data", 61*time.Minute, phase(resticv1.PhaseInProgress, 1, 2, ""))},
			want: velero.OperationProgress{
				Completed: true, NCompleted: 1, NTotal: 2,
				Err: "volume data of pod app/web: volume data: not done within 1h0m0s (itemOperationTimeout), " +
					"so it was canceled; last state: data: InProgress, 1 B of 2 B",
				Description: "data: InProgress, 1 B of 2 B",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			ids := test.ids
			for _, o := range test.objects {
				ids = append(ids, o.GetName())
			}
			test.want.OperationUnits = "Bytes"
			got := tracker(clustertest.New(t, interceptor.Funcs{}, test.objects...)).
				Progress(ID{Namespace: "app", Pod: "web", Objects: ids})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("progress differs (-want +got):\n%s", diff)
			}
		})
	}
}

// lease returns the leader's Lease, last renewed so long ago.
func lease(ago time.Duration) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: clustertest.Velero, Name: contract.LeaderLeaseName},
		Spec:       coordinationv1.LeaseSpec{RenewTime: &metav1.MicroTime{Time: clustertest.Now().Add(-ago)}},
	}
}

func TestProgressWithoutAgent(t *testing.T) {
	const absent, starting = "node node-1 has no restic agent", "(pod restic-node-1, phase Running)"
	notReady, ready := clustertest.Agent("node-1", "False"), clustertest.Agent("node-1", "True")
	for name, test := range map[string]struct {
		age    time.Duration
		others []client.Object
		// failed is part of the message; empty if the volume must stay New. While it does, waiting is part of the
		// operation's description.
		failed, waiting string
	}{
		"no agent, within the grace":            {age: stranded.AbsentGrace - time.Second, waiting: "for its agent"},
		"no agent, after the grace":             {age: stranded.AbsentGrace, failed: absent},
		"agent on another node":                 {age: stranded.AbsentGrace, others: []client.Object{clustertest.Agent("node-2", "True")}, failed: "taints"},
		"agent that starts may take longer":     {age: stranded.StartingGrace - time.Second, others: []client.Object{notReady}, waiting: starting},
		"agent that never starts":               {age: stranded.StartingGrace, others: []client.Object{notReady}, failed: starting},
		"agent that works on other volumes":     {age: 50 * time.Minute, others: []client.Object{ready}, waiting: "for its agent"},
		"no agent while one leads":              {age: 50 * time.Minute, others: []client.Object{lease(0)}, waiting: absent},
		"no agent, the leader has just gone":    {age: 50 * time.Minute, others: []client.Object{lease(stranded.AbsentGrace - time.Second)}, waiting: absent},
		"no agent, no leader for the grace":     {age: 50 * time.Minute, others: []client.Object{lease(stranded.AbsentGrace)}, failed: absent},
		"no agent, a leader long ago":           {age: stranded.AbsentGrace, others: []client.Object{lease(time.Hour)}, failed: absent},
		"agent that starts while another leads": {age: 50 * time.Minute, others: []client.Object{notReady, lease(0)}, waiting: starting},
		"agent that never starts, no leader":    {age: 50 * time.Minute, others: []client.Object{notReady, lease(stranded.StartingGrace)}, failed: starting},
	} {
		t.Run(name, func(t *testing.T) {
			objects := append([]client.Object{object("data", test.age, nil)}, test.others...)
			for _, o := range objects {
				o.SetResourceVersion("")
			}
			c := clustertest.New(t, interceptor.Funcs{}, objects...)
			progress := tracker(c).Progress(ID{Namespace: "app", Pod: "web", Objects: []string{"data"}})
			var after resticv1.PodVolumeBackup
			if err := c.Get(clustertest.Velero, "data", &after); err != nil {
				t.Fatal(err)
			}
			if test.failed == "" {
				if progress.Completed || after.Status.Phase != "" || !strings.Contains(progress.Description, test.waiting) {
					t.Errorf("progress is %+v and the phase %q, want both open with %q", progress, after.Status.Phase, test.waiting)
				}
				return
			}
			if after.Status.Phase != resticv1.PhaseFailed || after.Status.CompletionTimestamp == nil ||
				!strings.Contains(after.Status.Message, test.failed) {
				t.Errorf("status is %+v, want Failed with %q", after.Status, test.failed)
			}
			if !progress.Completed || !strings.Contains(progress.Err, "kubectl -n velero-ns ") {
				t.Errorf("progress is %+v, want its end with the next command", progress)
			}
		})
	}
}

// TestProgressWhenTheLeaseCannotBeRead leaves the decision open if it is unknown whether an agent leads.
func TestProgressWhenTheLeaseCannotBeRead(t *testing.T) {
	refuse := interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object,
		options ...client.GetOption,
	) error {
		if key.Name == contract.LeaderLeaseName {
			return apierrors.NewForbidden(schema.GroupResource{Resource: "leases"}, key.Name, errors.New("no role"))
		}
		return c.Get(ctx, key, o, options...)
	}}
	c := clustertest.New(t, refuse, object("data", time.Minute*30, nil))
	progress := tracker(c).Progress(ID{Namespace: "app", Pod: "web", Objects: []string{"data"}})
	if progress.Completed || !strings.Contains(progress.Description, "no role") {
		t.Errorf("progress is %+v, want it open with the reason in its description", progress)
	}
}

func TestProgressWhenTheAgentWasFaster(t *testing.T) {
	conflict := interceptor.Funcs{SubResourcePatch: func(_ context.Context, _ client.Client, _ string, o client.Object,
		_ client.Patch, _ ...client.SubResourcePatchOption,
	) error {
		return apierrors.NewConflict(schema.GroupResource{Resource: "podvolumebackups"}, o.GetName(), errors.New("newer"))
	}}
	c := clustertest.New(t, conflict, object("data", time.Minute*30, nil))
	progress := tracker(c).Progress(ID{Namespace: "app", Pod: "web", Objects: []string{"data"}})
	if progress.Completed || progress.Err != "" {
		t.Errorf("progress is %+v, want it open until the object is read again", progress)
	}
}

func TestProgressWhenTheServerRefuses(t *testing.T) {
	refuse := interceptor.Funcs{Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object,
		...client.GetOption,
	) error {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "podvolumebackups"}, "data", errors.New("no role"))
	}}
	progress := tracker(clustertest.New(t, refuse)).Progress(ID{Namespace: "app", Pod: "web", Objects: []string{"data"}})
	if progress.Completed || !strings.Contains(progress.Description, "no role") {
		t.Errorf("progress is %+v, want it open with the reason in its description", progress)
	}
}

func TestCancel(t *testing.T) {
	c := clustertest.New(t, interceptor.Funcs{},
		object("new", time.Minute, nil),
		object("done", time.Minute, phase(resticv1.PhaseCompleted, 1, 1, "")),
		object("skipped", time.Minute, func(o *resticv1.PodVolumeBackup) { o.Spec.Skip = &resticv1.SkipReason{} }),
	)
	id := ID{Namespace: "app", Pod: "web", Objects: []string{"gone", "new", "done", "skipped"}}
	for range 2 { // it may be repeated
		if err := tracker(c).Cancel(id); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]bool{"new": true, "done": false, "skipped": false} {
		var after resticv1.PodVolumeBackup
		if err := c.Get(clustertest.Velero, name, &after); err != nil {
			t.Fatal(err)
		}
		if after.Spec.Cancel != want {
			t.Errorf("spec.cancel of %s is %t, want %t", name, after.Spec.Cancel, want)
		}
	}
}

func TestOverdueIsCanceled(t *testing.T) {
	c := clustertest.New(t, interceptor.Funcs{},
		object("data", 2*time.Hour, phase(resticv1.PhaseInProgress, 0, 0, "")))
	tracker(c).Progress(ID{Namespace: "app", Pod: "web", Objects: []string{"data"}})
	var after resticv1.PodVolumeBackup
	if err := c.Get(clustertest.Velero, "data", &after); err != nil {
		t.Fatal(err)
	}
	if !after.Spec.Cancel {
		t.Error("spec.cancel is false, want a request to stop")
	}
}

func TestWait(t *testing.T) {
	c := clustertest.New(t, interceptor.Funcs{}, object("data", time.Minute, phase(resticv1.PhaseInProgress, 0, 0, "")))
	_, err := tracker(c).Wait(ID{Namespace: "app", Pod: "web", Objects: []string{"data"}}, 10*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "pod app/web was not backed up within 10ms") {
		t.Errorf("error is %v, want one that names the pod and the time", err)
	}
	var after resticv1.PodVolumeBackup
	if err := c.Get(clustertest.Velero, "data", &after); err != nil {
		t.Fatal(err)
	}
	if !after.Spec.Cancel {
		t.Error("spec.cancel is false, want a request to stop")
	}
}

func TestBounded(t *testing.T) {
	long := bounded(strings.Repeat("ä", 600), 1024)
	if len(long) > 1024 || !utf8.ValidString(long) || !strings.HasSuffix(long, " …") {
		t.Errorf("text of %d bytes is shortened to %d: %q", 1200, len(long), long[len(long)-10:])
	}
	if short := bounded("short", 1024); short != "short" {
		t.Errorf("a short text became %q", short)
	}
}
