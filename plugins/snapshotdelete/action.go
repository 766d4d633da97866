// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package snapshotdelete is the DeleteItemAction that has the snapshots of a deleted backup forgotten. It only asks for
// it: the leader among the agents forgets, tries again, and then removes the PodVolumeBackup.
package snapshotdelete

import (
	"fmt"
	"slices"

	"github.com/sirupsen/logrus"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster"
)

// Action implements Velero's DeleteItemAction.
type Action struct {
	log     logrus.FieldLogger
	cluster *cluster.Cluster
}

// New returns the action.
func New(log logrus.FieldLogger, c *cluster.Cluster) *Action { return &Action{log: log, cluster: c} }

// AppliesTo selects our PodVolumeBackups.
func (a *Action) AppliesTo() (velero.ResourceSelector, error) {
	return velero.ResourceSelector{
		IncludedResources: []string{resticv1.ResourcePodVolumeBackups + "." + resticv1.GroupName},
	}, nil
}

// Execute asks for the snapshot of a PodVolumeBackup in the deleted backup to be forgotten. A cluster that has lost the
// object, or never had it, gets it again from the backup's copy.
func (a *Action) Execute(input *velero.DeleteItemActionExecuteInput) error {
	var copied resticv1.PodVolumeBackup
	err := runtime.DefaultUnstructuredConverter.FromUnstructured(input.Item.UnstructuredContent(), &copied)
	if err != nil {
		return fmt.Errorf("reading the PodVolumeBackup in backup %s: %w", input.Backup.Name, err)
	}
	if copied.Spec.Skip != nil {
		return a.remove(copied.Name)
	}
	err = retry.RetryOnConflict(retry.DefaultBackoff, func() error { return a.request(&copied) })
	if err != nil {
		return fmt.Errorf("asking for snapshot %s of PodVolumeBackup %s/%s to be forgotten: %w",
			snapshotOf(&copied), a.cluster.Namespace, copied.Name, err)
	}
	a.log.Infof("PodVolumeBackup %s/%s and its snapshot %s will be removed by the leader of DaemonSet %s",
		a.cluster.Namespace, copied.Name, snapshotOf(&copied), contract.DaemonSetName)
	return nil
}

// remove deletes a PodVolumeBackup that has no data.
func (a *Action) remove(name string) error {
	object := &resticv1.PodVolumeBackup{ObjectMeta: metav1.ObjectMeta{Namespace: a.cluster.Namespace, Name: name}}
	err := a.cluster.Retry(func() error { return a.cluster.Client.Delete(a.cluster.Context, object) })
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting PodVolumeBackup %s/%s: %w", a.cluster.Namespace, name, err)
	}
	return nil
}

// request writes the request to forget on the object in the cluster, or makes it from the copy.
func (a *Action) request(copied *resticv1.PodVolumeBackup) error {
	var live resticv1.PodVolumeBackup
	err := a.cluster.Get(a.cluster.Namespace, copied.Name, &live)
	if apierrors.IsNotFound(err) {
		return a.recreate(copied)
	}
	if err != nil {
		return err
	}
	before := live.DeepCopy()
	live.Spec.Forget = true
	live.Spec.Cancel = live.Spec.Cancel || !live.Status.Phase.Final()
	if live.Spec.SnapshotID == "" {
		live.Spec.SnapshotID = orElse(live.Status.SnapshotID, snapshotOf(copied))
	}
	live.OwnerReferences = slices.DeleteFunc(live.OwnerReferences, ownedByBackup)
	if live.DeletionTimestamp == nil { // after it the API server takes no new finalizer
		controllerutil.AddFinalizer(&live, contract.FinalizerForget)
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	return a.cluster.Retry(func() error { return a.cluster.Client.Patch(a.cluster.Context, &live, patch) })
}

// recreate makes the object from the backup's copy. Its status cannot be made, so that the snapshot goes into the spec.
func (a *Action) recreate(copied *resticv1.PodVolumeBackup) error {
	object := &resticv1.PodVolumeBackup{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: a.cluster.Namespace, Name: copied.Name,
			Labels: copied.Labels, Annotations: copied.Annotations,
			Finalizers: []string{contract.FinalizerForget},
		},
		Spec: *copied.Spec.DeepCopy(),
	}
	object.Spec.Forget, object.Spec.Cancel = true, true
	object.Spec.SnapshotID = snapshotOf(copied)
	return a.cluster.Retry(func() error { return a.cluster.Client.Create(a.cluster.Context, object) })
}

// ownedByBackup says whether an owner is a Velero backup, with which the garbage collector would take the object away
// while its snapshot is still there.
func ownedByBackup(owner metav1.OwnerReference) bool {
	return owner.APIVersion == velerov1.SchemeGroupVersion.String() && owner.Kind == "Backup"
}

func snapshotOf(object *resticv1.PodVolumeBackup) string {
	return orElse(object.Status.SnapshotID, object.Spec.SnapshotID)
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
