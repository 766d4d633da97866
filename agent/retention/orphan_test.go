// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package retention

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/agenttest"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/repository"
)

const (
	sweepEvery = 24 * time.Hour
	graceTime  = 7 * 24 * time.Hour
)

// orphans is the leader's reconciler of orphans, and the repository that it sweeps.
type orphans struct {
	*agenttest.World

	reconciler *OrphanReconciler
	name       string
	// snapshots are those of this cluster in the repository, and removed the IDs of those that went.
	snapshots []transfer.OwnSnapshot
	removed   []string
	others    []string
	// fails is what restic says.
	fails error
}

func newOrphans(t *testing.T, objects ...client.Object) *orphans {
	t.Helper()
	o := &orphans{
		World: agenttest.New(t, append(objects, &velerov1.BackupStorageLocation{ObjectMeta: agenttest.Meta(agenttest.Velero, agenttest.Location)})...),
		name:  contract.RepositoryName(agenttest.Shop, agenttest.Location),
	}
	o.SetRepository(resticv1.RepositoryReady, "")
	o.setLocation(func(l *velerov1.BackupStorageLocation) {
		l.Status.Phase = velerov1.BackupStorageLocationPhaseAvailable
	})
	o.lead()
	return o
}

// lead begins a leader, who knows nothing but what the objects say.
func (o *orphans) lead() {
	pool, _ := agenttest.StartPool[SweepOutcome](o.T, 1)
	o.reconciler = &OrphanReconciler{
		Client: o.Client, Reader: o.Client, Recorder: o.Recorder, Metrics: o.Metrics, Clock: clock.RealClock{},
		Interval: sweepEvery, Grace: graceTime, Jobs: pool, Census: o.census, Forget: o.forget,
	}
}

func (o *orphans) census(_ context.Context, r transfer.Repository) (transfer.Census, error) {
	if r != (transfer.Repository{Location: agenttest.Location, Namespace: agenttest.Shop}) {
		o.T.Errorf("swept %+v", r)
	}
	return transfer.Census{Own: slices.Clone(o.snapshots), OtherClusters: o.others}, o.fails
}

func (o *orphans) forget(
	_ context.Context, request transfer.ForgetRequest, _ func(transfer.Progress),
) (transfer.ForgetOutcome, error) {
	if request.PodVolumeBackups.Len() > 0 {
		o.T.Errorf("forgets %v, want IDs alone", request.PodVolumeBackups)
	}
	if o.fails != nil {
		return transfer.ForgetOutcome{}, o.fails
	}
	o.removed = append(o.removed, request.SnapshotIDs.UnsortedList()...)
	o.snapshots = slices.DeleteFunc(o.snapshots, func(s transfer.OwnSnapshot) bool {
		return request.SnapshotIDs.Has(s.ID)
	})
	return transfer.ForgetOutcome{Count: request.SnapshotIDs.Len()}, nil
}

func (o *orphans) setLocation(change func(*velerov1.BackupStorageLocation)) {
	o.T.Helper()
	found := agenttest.Get(o.World, agenttest.Location, &velerov1.BackupStorageLocation{})
	change(found)
	o.Update(found)
}

// sync has Velero look into the storage location now.
func (o *orphans) sync() {
	o.T.Helper()
	o.setLocation(func(l *velerov1.BackupStorageLocation) {
		now := metav1.Now()
		l.Status.LastSyncedTime = &now
	})
}

// sweep goes to the next sweep and past it. It returns the status, and the time to the one after.
func (o *orphans) sweep() (resticv1.ResticRepositoryStatus, time.Duration) {
	o.T.Helper()
	wait := agenttest.Reconcile(o.World, o.reconciler, o.name).RequeueAfter
	if wait > 0 {
		agenttest.Sleep(wait)
		agenttest.Reconcile(o.World, o.reconciler, o.name)
	}
	again := agenttest.Reconcile(o.World, o.reconciler, o.name).RequeueAfter
	return agenttest.Get(o.World, o.name, &resticv1.ResticRepository{}).Status, again
}

func snapshotOf(backup, id string) transfer.OwnSnapshot {
	return transfer.OwnSnapshot{
		ID: id, Backup: backup, BackupUID: "uid-of-" + backup, PodVolumeBackup: backup + "-pvb", Pod: "web", Volume: "data",
	}
}

func veleroBackup(name, uid string) *velerov1.Backup {
	backup := &velerov1.Backup{ObjectMeta: agenttest.Meta(agenttest.Velero, name)}
	backup.UID = types.UID(uid)
	return backup
}

// paged answers lists page by page, as the API server does and the fake client does not.
type paged struct{ client.Reader }

func (p paged) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	asked := (&client.ListOptions{}).ApplyOptions(options)
	if err := p.Reader.List(ctx, list, client.InNamespace(asked.Namespace)); err != nil {
		return err
	}
	items, err := meta.ExtractList(list)
	if err != nil {
		return err
	}
	start, _ := strconv.Atoi(asked.Continue) // empty for the first page
	end := len(items)
	if asked.Limit > 0 {
		end = min(end, start+int(asked.Limit))
	}
	if end < len(items) {
		list.SetContinue(strconv.Itoa(end))
	}
	return meta.SetList(list, items[start:end])
}

// TestOrphansAmongManyBackups has more backups than a page of the list holds, and a backup of another Velero.
func TestOrphansAmongManyBackups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var backups []client.Object
		for i := range backupPage + 1 {
			backups = append(backups, veleroBackup(fmt.Sprintf("backup-%03d", i), fmt.Sprintf("backup-uid-%d", i)))
		}
		foreign := veleroBackup("of-another-velero", "foreign-uid")
		foreign.Namespace = "other-velero"
		o := newOrphans(t, append(backups, foreign)...)
		o.reconciler.Reader = paged{o.Client}
		o.snapshots = []transfer.OwnSnapshot{
			snapshotOf("backup-000", "aaaa1111"), snapshotOf(fmt.Sprintf("backup-%03d", backupPage), "bbbb2222"),
			snapshotOf("of-another-velero", "cccc3333"),
		}
		got, _ := o.sweep()
		if len(got.Orphans) != 1 || got.Orphans[0].SnapshotID != "cccc3333" {
			t.Errorf("the orphans are %+v, want cccc3333 alone", got.Orphans)
		}
	})
}

func TestOrphans(t *testing.T) {
	agenttest.InBubbles(t, map[string]func(*testing.T){
		"one is reported first, and removed when its time is over and Velero has looked into the bucket": func(t *testing.T) {
			o := newOrphans(t, veleroBackup("kept", "another"))
			o.snapshots = []transfer.OwnSnapshot{snapshotOf("kept", "aaaa1111"), snapshotOf("gone", "bbbb2222")}
			begin := time.Now()
			got, again := o.sweep()
			if late := time.Since(begin); late > firstSweep || again != sweepEvery {
				t.Errorf("first swept after %s, and again in %s", late, again)
			}
			if got.OrphanCount != 1 || len(got.Orphans) != 1 || got.Orphans[0].SnapshotID != "bbbb2222" ||
				got.Orphans[0].Backup != "gone" || time.Since(got.Orphans[0].FirstSeen.Time) > time.Second {
				t.Fatalf("the status is %+v", got)
			}
			events := o.Events()
			if len(events) != 1 || !strings.HasPrefix(events[0], "Warning OrphansFound 1 snapshots") ||
				!strings.Contains(events[0], "bbbb2222 of backup gone, volume data of pod web: they are removed 168h0m0s after") {
				t.Errorf("told of %q", events)
			}
			for time.Since(begin) < graceTime+sweepEvery {
				o.sweep()
			}
			if len(o.removed) != 0 {
				t.Fatalf("removed %v, though Velero has not looked into the bucket", o.removed)
			}
			o.sync()
			got, _ = o.sweep()
			if !slices.Equal(o.removed, []string{"bbbb2222"}) || got.OrphanCount != 0 || len(got.Orphans) != 0 {
				t.Errorf("removed %v, and the status is %+v", o.removed, got)
			}
			want := []string{"Normal OrphansSwept 1 snapshots of backups that no longer exist were removed"}
			if diff := cmp.Diff(want, o.Events()); diff != "" {
				t.Error(diff)
			}
		},
		"it is removed soon after its time, and not a sweep later": func(t *testing.T) {
			o := newOrphans(t)
			o.reconciler.Grace = time.Hour
			o.snapshots = []transfer.OwnSnapshot{snapshotOf("gone", "bbbb2222")}
			if _, again := o.sweep(); again < time.Hour || again > time.Hour+2*time.Second {
				t.Errorf("swept again in %s", again)
			}
			agenttest.Sleep(time.Minute)
			o.sync()
			if got, _ := o.sweep(); len(o.removed) != 1 {
				t.Errorf("the status is %+v", got)
			}
		},
		"a new leader goes on with the time that was reported": func(t *testing.T) {
			o := newOrphans(t)
			o.snapshots = []transfer.OwnSnapshot{snapshotOf("gone", "bbbb2222")}
			o.sweep()
			o.Events()
			agenttest.Sleep(graceTime)
			o.sync()
			o.lead()
			o.sweep()
			if events := o.Events(); len(o.removed) != 1 || len(events) != 1 {
				t.Errorf("removed %v, told of %q", o.removed, events)
			}
		},
		"a backup that comes back has its snapshots again": func(t *testing.T) {
			o := newOrphans(t)
			o.snapshots = []transfer.OwnSnapshot{snapshotOf("gone", "bbbb2222")}
			o.sweep()
			o.Create(veleroBackup("gone", "of the synchronization"))
			agenttest.Sleep(graceTime)
			o.sync()
			if got, _ := o.sweep(); len(o.removed) != 0 || got.OrphanCount != 0 {
				t.Errorf("removed %v, and the status is %+v", o.removed, got)
			}
		},
		"hundreds have all their time at once, though the status has but a hundred": func(t *testing.T) {
			o := newOrphans(t)
			for i := range 250 {
				o.snapshots = append(o.snapshots, snapshotOf("gone", fmt.Sprintf("%08x", i)))
			}
			if got, _ := o.sweep(); got.OrphanCount != 250 || len(got.Orphans) != resticv1.MaxOrphans {
				t.Errorf("the status has %d of %d", len(got.Orphans), got.OrphanCount)
			}
			agenttest.Sleep(graceTime)
			o.sync()
			if got, _ := o.sweep(); len(o.removed) != 250 || got.OrphanCount != 0 {
				t.Errorf("removed %d, %d are left", len(o.removed), got.OrphanCount)
			}
		},
	})
}

func TestOrphansStay(t *testing.T) {
	// Each of them is what alone keeps an orphan whose time is over.
	cases := map[string]func(o *orphans){
		"while the location is read-only": func(o *orphans) {
			o.setLocation(func(l *velerov1.BackupStorageLocation) {
				l.Spec.AccessMode = velerov1.BackupStorageLocationAccessModeReadOnly
			})
		},
		"while the location is not available": func(o *orphans) {
			o.setLocation(func(l *velerov1.BackupStorageLocation) {
				l.Status.Phase = velerov1.BackupStorageLocationPhaseUnavailable
			})
		},
		"while its PodVolumeBackup is there": func(o *orphans) { o.Create(agenttest.PodVolumeBackup("gone-pvb", "data")) },
		"for a backup with its UID": func(o *orphans) {
			o.Create(veleroBackup("renamed", "uid-of-gone"))
		},
		"while the repository is not ready": func(o *orphans) { o.SetRepository(resticv1.RepositoryNotReady, "") },
		"when restic cannot list":           func(o *orphans) { o.fails = errors.New("no route to host") },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := newOrphans(t)
				o.snapshots = []transfer.OwnSnapshot{snapshotOf("gone", "bbbb2222")}
				o.sweep()
				agenttest.Sleep(graceTime)
				o.sync()
				change(o)
				o.sweep()
				if len(o.removed) != 0 {
					t.Fatalf("removed %v", o.removed)
				}
			})
		})
	}
	agenttest.InBubbles(t, map[string]func(*testing.T){"control: nothing keeps it": func(t *testing.T) {
		o := newOrphans(t)
		o.snapshots = []transfer.OwnSnapshot{snapshotOf("gone", "bbbb2222")}
		o.sweep()
		agenttest.Sleep(graceTime)
		o.sync()
		if o.sweep(); len(o.removed) != 1 {
			t.Errorf("removed %v", o.removed)
		}
	}})
}

func TestOrphansAreReported(t *testing.T) {
	agenttest.InBubbles(t, map[string]func(*testing.T){
		"a failure is an event, and tried again soon": func(t *testing.T) {
			o := newOrphans(t)
			o.fails = errors.New("no route to host")
			_, again := o.sweep()
			events := o.Events()
			if again != sweepRetry || len(events) != 1 || !strings.Contains(events[0], "Warning SweepFailed") ||
				!strings.Contains(events[0], "no route to host") {
				t.Errorf("again in %s, told of %q", again, events)
			}
		},
		"other clusters are named once": func(t *testing.T) {
			o := newOrphans(t)
			o.others = []string{"cluster-b"}
			got, _ := o.sweep()
			if diff := cmp.Diff(o.others, got.OtherClusters); diff != "" {
				t.Error(diff)
			}
			o.others = []string{"cluster-b", "cluster-c"}
			o.sweep()
			o.sweep()
			events := o.Events()
			if len(events) != 2 || !strings.Contains(events[0], "Normal SharedRepository") ||
				!strings.Contains(events[0], ": cluster-b. ") || !strings.Contains(events[1], ": cluster-c. ") {
				t.Errorf("told of %q", events)
			}
		},
		"what may not be removed says so": func(t *testing.T) {
			o := newOrphans(t)
			o.setLocation(func(l *velerov1.BackupStorageLocation) {
				l.Spec.AccessMode = velerov1.BackupStorageLocationAccessModeReadOnly
			})
			o.snapshots = []transfer.OwnSnapshot{snapshotOf("gone", "bbbb2222")}
			o.sweep()
			if events := o.Events(); len(events) != 1 || !strings.Contains(events[0], "read-only") {
				t.Errorf("told of %q", events)
			}
		},
		"a repository whose object is gone is forgotten": func(t *testing.T) {
			o := newOrphans(t)
			o.snapshots = []transfer.OwnSnapshot{snapshotOf("gone", "bbbb2222")}
			o.sweep()
			o.Remove(agenttest.Get(o.World, o.name, &resticv1.ResticRepository{}))
			agenttest.Reconcile(o.World, o.reconciler, o.name)
			o.Create(repository.ForNamespace(agenttest.Velero, agenttest.Shop, agenttest.Location, 0))
			o.SetRepository(resticv1.RepositoryReady, "")
			got, _ := o.sweep()
			if len(got.Orphans) != 1 || time.Since(got.Orphans[0].FirstSeen.Time) > time.Second {
				t.Errorf("the orphans are %+v", got.Orphans)
			}
		},
	})
}
