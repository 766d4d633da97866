// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package retention

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/transfer"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// backupPage is how many backups are read at a time, of which only the names are kept.
const backupPage = 500

// SweepOutcome is what a sweep found and did.
type SweepOutcome struct {
	// Complete says that the repository was looked through; the rest is empty otherwise.
	Complete bool
	// Orphans are left, those that were first seen earliest first.
	Orphans []resticv1.Orphan
	// New is how many of them no earlier sweep has seen; they are the last.
	New int
	// Swept is how many were removed.
	Swept int
	// ReadOnly says that none may be removed.
	ReadOnly bool
	// OtherClusters are those whose snapshots are in the repository, too.
	OtherClusters []string
}

// sweep looks through a repository and removes the orphans whose time has come.
func (r *OrphanReconciler) sweep(
	ctx context.Context, key string, repository *resticv1.ResticRepository,
) (SweepOutcome, error) {
	var outcome SweepOutcome
	source := transfer.Repository{
		Location: repository.Spec.BackupStorageLocation, Namespace: repository.Spec.VolumeNamespace,
	}
	// In this order: whose backup is made in between has no snapshot in the list.
	census, err := r.Census(ctx, source)
	if err != nil {
		return outcome, err
	}
	kept, err := r.listOwners(ctx, repository)
	if err != nil {
		return outcome, err
	}
	location := &velerov1.BackupStorageLocation{}
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: repository.Namespace, Name: source.Location},
		location); err != nil {
		return outcome, fmt.Errorf("reading BackupStorageLocation %s: %w", source.Location, err)
	}
	outcome.Complete, outcome.OtherClusters = true, census.OtherClusters
	outcome.ReadOnly = location.Spec.AccessMode == velerov1.BackupStorageLocationAccessModeReadOnly
	outcome.Orphans, outcome.New = r.orphans(key, repository, kept, census.Own)
	due := sets.New[string]()
	for _, orphan := range outcome.Orphans {
		if r.expired(orphan, location) {
			due.Insert(orphan.SnapshotID)
		}
	}
	if due.Len() == 0 {
		return outcome, nil
	}
	removed, err := r.Forget(ctx, transfer.ForgetRequest{
		Repository: source, PodVolumeBackups: sets.New[string](), SnapshotIDs: due,
	}, nil)
	if err != nil {
		return outcome, err
	}
	outcome.Swept = removed.Count
	outcome.Orphans = slices.DeleteFunc(outcome.Orphans, func(o resticv1.Orphan) bool { return due.Has(o.SnapshotID) })
	return outcome, nil
}

// expired says whether an orphan may be removed: it was reported for long enough, and Velero has looked into the
// storage location since, so that a backup which the cluster had only lost would be back.
func (r *OrphanReconciler) expired(orphan resticv1.Orphan, location *velerov1.BackupStorageLocation) bool {
	synced := location.Status.LastSyncedTime
	return r.Clock.Since(orphan.FirstSeen.Time) >= r.Grace &&
		location.Spec.AccessMode != velerov1.BackupStorageLocationAccessModeReadOnly &&
		location.Status.Phase == velerov1.BackupStorageLocationPhaseAvailable &&
		synced != nil && synced.After(orphan.FirstSeen.Time)
}

// owners are what a snapshot is kept for.
type owners struct {
	// backups are the names of Velero's backups, in whatever storage location, and uids their UIDs. A backup that came
	// from the bucket has another UID than its snapshots say, but the same name.
	backups, uids sets.Set[string]
	// objects are the names of the PodVolumeBackups of the repository. One that outlives its backup has its snapshot
	// forgotten by the ForgetReconciler.
	objects sets.Set[string]
}

func (k *owners) keep(snapshot transfer.OwnSnapshot) bool {
	return k.backups.Has(snapshot.Backup) || k.uids.Has(snapshot.BackupUID) || k.objects.Has(snapshot.PodVolumeBackup)
}

// A snapshot that belongs to no existing backup is an orphan.
//
// +kubebuilder:rbac:groups=velero.io,resources=backups,verbs=list,namespace=velero

func (r *OrphanReconciler) listOwners(ctx context.Context, repository *resticv1.ResticRepository) (*owners, error) {
	kept := &owners{backups: sets.New[string](), uids: sets.New[string](), objects: sets.New[string]()}
	for next := ""; ; {
		page := &metav1.PartialObjectMetadataList{}
		page.SetGroupVersionKind(velerov1.SchemeGroupVersion.WithKind("BackupList"))
		if err := r.Reader.List(ctx, page, client.InNamespace(repository.Namespace), client.Limit(backupPage),
			client.Continue(next)); err != nil {
			return nil, fmt.Errorf("listing Velero's backups: %w", err)
		}
		for i := range page.Items {
			kept.backups.Insert(page.Items[i].Name)
			kept.uids.Insert(string(page.Items[i].UID))
		}
		if next = page.Continue; next == "" {
			break
		}
	}
	objects := &resticv1.PodVolumeBackupList{}
	if err := r.Client.List(ctx, objects, client.InNamespace(repository.Namespace)); err != nil {
		return nil, fmt.Errorf("listing PodVolumeBackups: %w", err)
	}
	for i := range objects.Items {
		if objects.Items[i].Spec.Repository == repository.Name {
			kept.objects.Insert(objects.Items[i].Name)
		}
	}
	return kept, nil
}

// orphans returns the snapshots that nothing keeps, and how many of them are new.
func (r *OrphanReconciler) orphans(
	key string, repository *resticv1.ResticRepository, kept *owners, snapshots []transfer.OwnSnapshot,
) (orphans []resticv1.Orphan, added int) {
	known := r.state(key, repository)
	r.mu.Lock()
	seen := known.seen
	r.mu.Unlock()
	now := metav1.NewTime(r.Clock.Now()).Rfc3339Copy()
	for _, snapshot := range snapshots {
		if kept.keep(snapshot) {
			continue
		}
		since, known := seen[snapshot.ID]
		if !known {
			since = now
			added++
		}
		orphans = append(orphans, resticv1.Orphan{
			SnapshotID: snapshot.ID, Backup: snapshot.Backup, Pod: snapshot.Pod, Volume: snapshot.Volume,
			FirstSeen: since,
		})
	}
	slices.SortFunc(orphans, func(a, b resticv1.Orphan) int {
		return cmp.Or(a.FirstSeen.Compare(b.FirstSeen.Time), cmp.Compare(a.SnapshotID, b.SnapshotID))
	})
	return orphans, added
}
