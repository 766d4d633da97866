// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package backup

import (
	"context"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/velero-restic/velero-plugin-for-restic/agent/volume"
	"github.com/velero-restic/velero-plugin-for-restic/agent/worker"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// SetupWithManager registers the reconciler. The manager's cache must hold this node's PodVolumeBackups alone.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager, wakeup worker.Wakeup) error {
	extract := func(o client.Object) []string {
		backup, ok := o.(*resticv1.PodVolumeBackup)
		if !ok || backup.Status.Phase.Final() {
			return nil
		}
		return []string{backup.Spec.Repository}
	}
	err := mgr.GetFieldIndexer().
		IndexField(ctx, &resticv1.PodVolumeBackup{}, volume.IndexRepository, extract)
	if err != nil {
		return err
	}
	list := func() client.ObjectList { return &resticv1.PodVolumeBackupList{} }
	return ctrl.NewControllerManagedBy(mgr).For(&resticv1.PodVolumeBackup{}).
		Watches(&resticv1.ResticRepository{}, handler.EnqueueRequestsFromMapFunc(r.RequestsForRepository(list))).
		WatchesRawSource(wakeup.Source()).
		WithOptions(worker.EveryNode()).Complete(r)
}
