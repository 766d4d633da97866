// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package backup

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/agenttest"
	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// backups is a node's reconciler of PodVolumeBackups, in a world with a pod and a repository that is ready.
type backups struct {
	*agenttest.World
	*agenttest.Script[transfer.BackupRequest, transfer.BackupOutcome]

	reconciler *Reconciler
	stopAgent  func()
}

func newBackups(t *testing.T, objects ...client.Object) *backups {
	t.Helper()
	all := append(append(agenttest.Storage(), agenttest.Pod("web")), objects...)
	b := &backups{World: agenttest.New(t, all...)}
	b.SetRepository(resticv1.RepositoryReady, "")
	b.startAgent()
	return b
}

// startAgent begins anew with the same objects, as after a restart of the agent.
func (b *backups) startAgent() {
	b.Script = agenttest.NewScript[transfer.BackupRequest, transfer.BackupOutcome]()
	pool, stop := agenttest.StartPool[transfer.BackupOutcome](b.T, 1)
	b.stopAgent = stop
	b.reconciler = &Reconciler{NodeOptions: b.NodeOptions(), Jobs: pool, Backup: b.Run}
}

func (b *backups) look() time.Duration {
	b.T.Helper()
	return agenttest.Reconcile(b.World, b.reconciler, agenttest.BackupName).RequeueAfter
}

// want looks and makes sure of the phase.
func (b *backups) want(phase resticv1.VolumePhase) *resticv1.PodVolumeBackup {
	b.T.Helper()
	b.look()
	got := b.Backup(agenttest.BackupName)
	if got.Status.Phase != phase {
		b.T.Fatalf("the phase is %q (%s), want %s", got.Status.Phase, got.Status.Message, phase)
	}
	if got.Status.Phase.Final() != (got.Status.CompletionTimestamp != nil) {
		b.T.Errorf("phase %s with completion timestamp %v", got.Status.Phase, got.Status.CompletionTimestamp)
	}
	if phase.Final() && got.Status.Reason != "" {
		b.T.Errorf("the reason of phase %s is %q", phase, got.Status.Reason)
	}
	return got
}

// wantWaiting compares the reason of a new backup. The message must not repeat that it waits.
func (b *backups) wantWaiting(reason resticv1.WaitingReason, parts ...string) {
	b.T.Helper()
	status := b.Backup(agenttest.BackupName).Status
	if status.Phase != resticv1.PhaseNew || status.Reason != reason || strings.Contains(status.Message, "waiting") {
		b.T.Errorf("phase %q, reason %q, message %q; want New, %q", status.Phase, status.Reason, status.Message, reason)
	}
	b.wantMessage(parts...)
}

func (b *backups) wantMessage(parts ...string) {
	b.T.Helper()
	message := b.Backup(agenttest.BackupName).Status.Message
	for _, part := range parts {
		if !strings.Contains(message, part) {
			b.T.Errorf("the message is %q, want %q in it", message, part)
		}
	}
}

func (b *backups) wantAsked(count int) {
	b.T.Helper()
	if len(b.Asked) != count {
		b.T.Fatalf("%d transfers were started, want %d", len(b.Asked), count)
	}
}

func (b *backups) cancel() {
	b.T.Helper()
	object := b.Backup(agenttest.BackupName)
	object.Spec.Cancel = true
	b.Update(object)
}

// wantNoJob makes sure that nothing of the object is left in the pool.
func (b *backups) wantNoJob() {
	b.T.Helper()
	if state, found := b.reconciler.Jobs.State(agenttest.Velero + "/" + agenttest.BackupName); found {
		b.T.Errorf("a job is left: %+v", state)
	}
}

func goodBackup() transfer.BackupOutcome {
	return transfer.BackupOutcome{
		SnapshotID: strings.Repeat("5", 64), Parent: "parent", Path: "/host_pods/x", URL: "s3:x/shop",
		Summary: restic.Summary{
			FilesNew: 1, FilesChanged: 2, FilesUnmodified: 3, TotalBytesProcessed: 1000, DataAdded: 100, DataAddedPacked: 50,
		},
		Warnings: restic.Warnings{Count: 2, First: []string{"first", "second"}},
	}
}

func TestBackupCompletes(t *testing.T) {
	agenttest.InBubbles(t, map[string]func(*testing.T){"from New to Completed with one write for each change": func(t *testing.T) {
		b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
		b.look()
		b.wantAsked(1)
		if got := b.Backup(agenttest.BackupName).Status; got.Phase != resticv1.PhaseNew || got.Attempts != 1 || b.Writes[agenttest.BackupName] != 1 {
			t.Fatalf("before the transfer the status is %+v, after %d writes", got, b.Writes[agenttest.BackupName])
		}
		agenttest.Sleep(time.Second)
		started := b.want(resticv1.PhaseInProgress).Status
		if started.StartTimestamp == nil || started.Message != "" || b.Writes[agenttest.BackupName] != 2 {
			t.Errorf("in progress: %+v, after %d writes", started, b.Writes[agenttest.BackupName])
		}
		b.Report(transfer.Progress{BytesDone: 10, TotalBytes: 1000})
		if again := b.look(); again != 2*time.Second {
			t.Errorf("progress is looked at again in %s", again)
		}
		if got := b.Backup(agenttest.BackupName).Status.Progress; got.BytesDone != 10 || got.TotalBytes != 1000 || b.Writes[agenttest.BackupName] != 3 {
			t.Errorf("progress is %+v, after %d writes", got, b.Writes[agenttest.BackupName])
		}
		b.look()
		if b.Writes[agenttest.BackupName] != 3 {
			t.Errorf("%d writes, though nothing has changed", b.Writes[agenttest.BackupName])
		}
		b.Answer(goodBackup(), nil)
		got := b.want(resticv1.PhaseCompleted).Status
		b.look()
		if b.Writes[agenttest.BackupName] != 4 {
			t.Errorf("%d writes, want 4", b.Writes[agenttest.BackupName])
		}
		want := resticv1.PodVolumeBackupStatus{
			VolumeStatus: got.VolumeStatus, Path: "/host_pods/x", SnapshotID: strings.Repeat("5", 64),
			ParentSnapshotID: "parent",
			Summary: &resticv1.BackupSummary{
				FilesNew: 1, FilesChanged: 2, FilesUnmodified: 3, BytesProcessed: 1000, BytesAdded: 100, BytesAddedPacked: 50,
			},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the status (-want +got):\n%s", diff)
		}
		if got.Progress.BytesDone != 1000 || got.WarningCount != 2 || len(got.Warnings) != 2 || got.Message != "" {
			t.Errorf("the status is %+v", got.VolumeStatus)
		}
		agenttest.WantEvents(t, b.Events(), "Normal Started restic backup of volume data: InProgress",
			"Warning CompletedWithWarnings restic backup of volume data: Completed, 2 warnings, the first: first")
		b.wantNoJob()
	}})
}

func TestBackupAsksFor(t *testing.T) {
	agenttest.InBubbles(t, map[string]func(*testing.T){
		"the claim's volume, tags, and the newest completed backup of the claim as parent": func(t *testing.T) {
			asked := agenttest.PodVolumeBackup(agenttest.BackupName, "data")
			asked.Labels = map[string]string{contract.LabelPVCUID: "claim-1"}
			b := newBackups(t, append(earlierBackups(), asked)...)
			b.look()
			b.wantAsked(1)
			got := b.Asked[0]
			if got.Parent != "newest" || got.Repeated ||
				got.Repository != (transfer.Repository{Location: agenttest.Location, Namespace: agenttest.Shop}) {
				t.Errorf("asked for %+v", got)
			}
			if got.Volume.PVC == nil || got.Volume.PV == nil || got.Volume.PV.Name != "pv-1" || got.Volume.Name != "data" {
				t.Errorf("the volume is %+v", got.Volume)
			}
			want := map[string]string{contract.TagBackupUID: "backup-1", contract.TagPodVolumeBackup: agenttest.BackupName}
			if diff := cmp.Diff(want, got.Tags); diff != "" {
				t.Errorf("tags (-want +got):\n%s", diff)
			}
		},
		"a volume that is no claim's, without a parent": func(t *testing.T) {
			b := newBackups(t, append(earlierBackups(), agenttest.PodVolumeBackup(agenttest.BackupName, "cache"))...)
			b.look()
			b.wantAsked(1)
			if got := b.Asked[0]; got.Parent != "" || got.Volume.PVC != nil || got.Volume.Name != "cache" {
				t.Errorf("asked for %+v", got)
			}
		},
	})
}

// earlierBackups are of the same claim; only one of them can be a parent, and one is older.
func earlierBackups() []client.Object {
	earlier := func(name string, age time.Duration, change func(*resticv1.PodVolumeBackup)) client.Object {
		backup := agenttest.PodVolumeBackup(name, "data")
		backup.Labels = map[string]string{contract.LabelPVCUID: "claim-1"}
		done := metav1.NewTime(time.Now().Add(-age))
		backup.Status.Phase, backup.Status.SnapshotID = resticv1.PhaseCompleted, name
		backup.Status.CompletionTimestamp = &done
		change(backup)
		return backup
	}
	return []client.Object{
		earlier("older", 3*time.Hour, func(*resticv1.PodVolumeBackup) {}),
		earlier("newest", 2*time.Hour, func(*resticv1.PodVolumeBackup) {}),
		earlier("failed", time.Hour, func(b *resticv1.PodVolumeBackup) { b.Status.Phase = resticv1.PhaseFailed }),
		earlier("forgotten", time.Hour, func(b *resticv1.PodVolumeBackup) { b.Spec.Forget = true }),
		earlier("elsewhere", time.Hour, func(b *resticv1.PodVolumeBackup) { b.Spec.BackupStorageLocation = "other" }),
		earlier("without-snapshot", time.Hour, func(b *resticv1.PodVolumeBackup) { b.Status.SnapshotID = "" }),
		earlier("of-another-claim", time.Hour, func(b *resticv1.PodVolumeBackup) {
			b.Labels[contract.LabelPVCUID] = "claim-2"
		}),
	}
}

func TestBackupWaitsAndFails(t *testing.T) {
	agenttest.InBubbles(t, map[string]func(*testing.T){
		"a repository that is not ready is waited for, and then the backup fails with its message": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.SetRepository(resticv1.RepositoryNotReady, "make a Secret")
			if again := b.look(); again <= 0 || again > 10*time.Second {
				t.Errorf("looked at again in %s", again)
			}
			b.want(resticv1.PhaseNew)
			b.wantWaiting(resticv1.WaitingForRepository, "make a Secret")
			agenttest.Sleep(time.Minute + time.Second)
			b.want(resticv1.PhaseFailed)
			b.wantMessage("not ready: make a Secret", agenttest.Shop, agenttest.Location)
			b.wantAsked(0)
		},
		"a repository that becomes ready in time is used": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.SetRepository(resticv1.RepositoryNew, "")
			b.want(resticv1.PhaseNew)
			agenttest.Sleep(50 * time.Second)
			b.SetRepository(resticv1.RepositoryReady, "")
			b.look()
			b.wantAsked(1)
		},
		"a repository that the cluster has lost is made again": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			name := contract.RepositoryName(agenttest.Shop, agenttest.Location)
			b.Remove(agenttest.Get(b.World, name, &resticv1.ResticRepository{}))
			b.want(resticv1.PhaseNew)
			if got := agenttest.Get(b.World, name, &resticv1.ResticRepository{}).Spec; got.VolumeNamespace != agenttest.Shop {
				t.Errorf("made %+v", got)
			}
		},
		"a pod that is gone": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.Remove(agenttest.Pod("web"))
			b.want(resticv1.PhaseFailed)
			b.wantMessage("pod shop/web (uid uid-of-web) is gone")
		},
		"another pod of the same name": func(t *testing.T) {
			backup := agenttest.PodVolumeBackup(agenttest.BackupName, "data")
			backup.Spec.Pod.UID = "uid-of-an-older-web"
			b := newBackups(t, backup)
			b.want(resticv1.PhaseFailed)
			b.wantMessage("uid-of-an-older-web", "gone")
			b.wantAsked(0)
		},
		"a claim that is gone": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.Remove(agenttest.Storage()[0])
			b.want(resticv1.PhaseFailed)
			b.wantMessage("shop/data-web")
		},
		"an error of the transfer is the message, with the path as far as it was known": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.look()
			b.Answer(transfer.BackupOutcome{Path: "/host_pods/x"}, errors.New("the disk is on fire"))
			if got := b.want(resticv1.PhaseFailed).Status; got.Path != "/host_pods/x" || got.SnapshotID != "" {
				t.Errorf("the status is %+v", got)
			}
			b.wantMessage("the disk is on fire")
			agenttest.WantEvents(t, b.Events(), "Warning Failed restic backup of volume data: Failed: the disk is on fire")
			b.wantNoJob()
		},
		"one that is to be skipped is left to the leader": func(t *testing.T) {
			backup := agenttest.PodVolumeBackup(agenttest.BackupName, "data")
			backup.Spec.Skip = &resticv1.SkipReason{Reason: "HostPath", Message: "no"}
			b := newBackups(t, backup)
			b.look()
			b.wantAsked(0)
			if b.Writes[agenttest.BackupName] != 0 {
				t.Error("its status was written")
			}
		},
		"an object that is gone is no error, and takes its transfer along": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.look()
			b.Remove(b.Backup(agenttest.BackupName))
			b.look()
			b.look()
			b.wantNoJob()
		},
	})
}

func TestBackupIsStopped(t *testing.T) {
	cancel := func(b *backups) { b.cancel() }
	tooLate := func(*backups) { agenttest.Sleep(4*time.Hour + time.Second) }
	stops := map[string]struct {
		stop    func(*backups)
		message string
	}{
		"canceled":      {cancel, "canceled on request"},
		"past its time": {tooLate, "not done by its deadline, 4h0m0s after it was created"},
	}
	cases := map[string]func(*testing.T){}
	for name, s := range stops {
		end := func(t *testing.T, b *backups) {
			t.Helper()
			s.stop(b)
			b.look()
			b.want(resticv1.PhaseCanceled)
			b.wantMessage(s.message)
			b.wantNoJob()
			b.look()
			if got := len(b.Asked); got > 1 {
				t.Errorf("%d transfers were started", got)
			}
		}
		cases[name+" before it was looked at"] = func(t *testing.T) {
			end(t, newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data")))
		}
		cases[name+" while it waits for its repository"] = func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.SetRepository(resticv1.RepositoryNew, "")
			b.look()
			end(t, b)
		}
		cases[name+" while it waits for its turn"] = func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"), agenttest.PodVolumeBackup("first", "cache"))
			agenttest.Reconcile(b.World, b.reconciler, "first")
			b.look()
			end(t, b)
			b.wantAsked(1)
		}
		cases[name+" while it runs"] = func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.look()
			b.look()
			end(t, b)
		}
		cases[name+" while its agent is restarted"] = func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.look()
			b.look()
			b.stopAgent()
			b.look()
			b.startAgent()
			end(t, b)
		}
	}
	cases["completed before the request: it stays so"] = func(t *testing.T) {
		b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
		b.look()
		b.Answer(goodBackup(), nil)
		b.cancel()
		b.want(resticv1.PhaseCompleted)
		b.want(resticv1.PhaseCompleted)
	}
	agenttest.InBubbles(t, cases)
}

func TestBackupIsRepeated(t *testing.T) {
	cases := map[string]func(*testing.T){
		"after the agent was restarted in each phase": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.look()
			b.stopAgent() // after the attempt was counted
			b.look()
			b.startAgent()
			agenttest.Sleep(time.Minute)
			b.look()
			b.want(resticv1.PhaseInProgress)
			if !b.Asked[0].Repeated {
				t.Error("the second attempt does not know of the first")
			}
			b.stopAgent() // in progress
			b.want(resticv1.PhaseInProgress)
			b.startAgent()
			b.look()
			b.Answer(goodBackup(), nil)
			if got := b.want(resticv1.PhaseCompleted).Status.Attempts; got != 3 {
				t.Errorf("%d attempts", got)
			}
			b.startAgent() // once it was done
			b.want(resticv1.PhaseCompleted)
			b.wantAsked(0)
		},
		"and given up when the agent was killed in three attempts": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			for range 3 {
				b.look()
				b.want(resticv1.PhaseInProgress)
				b.wantAsked(1)
				b.startAgent()
			}
			b.want(resticv1.PhaseFailed)
			b.wantMessage("given up after 3 attempts", "restarted", "DaemonSet restic")
			b.wantAsked(0)
		},
		"not when it has failed": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.look()
			b.Answer(transfer.BackupOutcome{}, restic.ErrWrongPassword)
			b.want(resticv1.PhaseFailed)
			agenttest.Sleep(time.Hour)
			b.want(resticv1.PhaseFailed)
			b.wantAsked(1)
		},
	}
	for name, err := range map[string]error{
		"restic was killed": restic.ErrKilled, "somebody else has stopped restic": restic.ErrCanceled,
	} {
		cases["later, and at last given up, when "+name] = func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			for i := range 3 {
				b.look()
				b.wantAsked(i + 1)
				b.Answer(transfer.BackupOutcome{}, fmt.Errorf("backing up: %w", err))
				if i == 2 {
					break
				}
				b.want(resticv1.PhaseNew)
				b.wantMessage(fmt.Sprintf("attempt %d of 3", i+1), err.Error())
				again := b.look()
				b.wantAsked(i + 1) // its own write woke it
				if again <= 0 || again > time.Minute {
					t.Fatalf("tried again in %s", again)
				}
				agenttest.Sleep(again)
			}
			b.want(resticv1.PhaseFailed)
			b.wantMessage(err.Error())
			b.wantNoJob()
		}
	}
	agenttest.InBubbles(t, cases)
}

func TestBackupSaving(t *testing.T) {
	kind := schema.GroupResource{Group: resticv1.GroupVersion().Group, Resource: "podvolumebackups"}
	conflict := apierrors.NewConflict(kind, agenttest.BackupName, errors.New("it was changed"))
	agenttest.InBubbles(t, map[string]func(*testing.T){
		"a conflict at the end loses nothing, and is no error": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.look()
			b.look()
			b.Events()
			b.Answer(goodBackup(), nil)
			b.Refuse = func(client.Object) error { return conflict }
			if again := b.look(); again <= 0 || again > time.Second {
				t.Errorf("looked at again in %s", again)
			}
			if events := b.Events(); len(events) != 0 {
				t.Errorf("told of what was not saved: %v", events)
			}
			b.Refuse = nil
			if got := b.want(resticv1.PhaseCompleted).Status.SnapshotID; got != goodBackup().SnapshotID {
				t.Errorf("the snapshot is %q", got)
			}
			b.wantAsked(1)
			b.wantNoJob()
		},
		"an attempt that was not counted is not begun": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.Refuse = func(client.Object) error { return conflict }
			b.look()
			b.wantAsked(0)
			b.Refuse = nil
			b.look()
			b.wantAsked(1)
			if got := b.Backup(agenttest.BackupName).Status.Attempts; got != 1 {
				t.Errorf("%d attempts", got)
			}
		},
		"an error of the API server is returned, and what was done is kept": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.look()
			b.Answer(goodBackup(), nil)
			broken := errors.New("etcd is gone")
			b.Refuse = func(client.Object) error { return broken }
			if _, err := agenttest.TryReconcile(b.World, b.reconciler, agenttest.BackupName); !errors.Is(err, broken) || !strings.Contains(err.Error(), agenttest.BackupName) {
				t.Errorf("got %v", err)
			}
			b.Refuse = nil
			b.want(resticv1.PhaseCompleted)
		},
		"an object that was deleted meanwhile is no error": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.Refuse = func(client.Object) error { return apierrors.NewNotFound(kind, agenttest.BackupName) }
			b.look()
			if events := b.Events(); len(events) != 0 {
				t.Errorf("told of %v", events)
			}
		},
		"the heartbeat is renewed while nothing moves, and not more often than needed": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.look()
			b.look()
			before := b.Writes[agenttest.BackupName]
			for range 120 {
				agenttest.Sleep(time.Second)
				b.look()
			}
			if got := b.Writes[agenttest.BackupName] - before; got < 2 || got > 5 {
				t.Errorf("%d writes in two minutes", got)
			}
			if age := time.Since(b.Backup(agenttest.BackupName).Status.HeartbeatTimestamp.Time); age > time.Minute {
				t.Errorf("the heartbeat is %s old", age)
			}
		},
		"more warnings than fit are counted": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.look()
			outcome := goodBackup()
			outcome.Warnings = restic.Warnings{Count: 1000, First: make([]string, 30)}
			b.Answer(outcome, nil)
			got := b.want(resticv1.PhaseCompleted).Status
			if got.WarningCount != 1000 || len(got.Warnings) != resticv1.MaxWarnings {
				t.Errorf("%d warnings, %d of them kept", got.WarningCount, len(got.Warnings))
			}
		},
		"an Event is cut to what the API server takes": func(t *testing.T) {
			b := newBackups(t, agenttest.PodVolumeBackup(agenttest.BackupName, "data"))
			b.look()
			b.Answer(transfer.BackupOutcome{}, errors.New(strings.Repeat("ü", 2000)))
			b.want(resticv1.PhaseFailed)
			for _, event := range b.Events() {
				message := strings.TrimPrefix(event, corev1.EventTypeWarning+" Failed ")
				if len(message) > 1024 || strings.ToValidUTF8(message, "") != message {
					t.Errorf("the Event has %d bytes: %q", len(message), message[len(message)-10:])
				}
			}
		},
	})
}
