// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package reprovision

import (
	"fmt"
	"strings"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	restoreitemaction "github.com/vmware-tanzu/velero/pkg/plugin/velero/restoreitemaction/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// operationID names a restored claim: namespace/name.
func operationID(namespace, claim string) string { return namespace + "/" + claim }

// Progress says whether the content of a restored claim comes back too. Velero asks once all items are restored, so
// that the pods which are to come have a PodVolumeRestore by then. Without one the claim stays empty, which whoever
// uses it must know: Velero calls the restore PartiallyFailed.
func (a *RestoreAction) Progress(id string, restore *velerov1.Restore) (velero.OperationProgress, error) {
	namespace, claim, found := strings.Cut(id, "/")
	if !found {
		return velero.OperationProgress{}, restoreitemaction.InvalidOperationIDError(id)
	}
	var restores resticv1.PodVolumeRestoreList
	err := a.cluster.Retry(func() error {
		return a.cluster.Client.List(a.cluster.Context, &restores, client.InNamespace(a.cluster.Namespace),
			client.MatchingLabels{contract.LabelRestoreUID: contract.LabelValue(string(restore.UID))})
	})
	if err != nil {
		// Velero gives an operation up at the first error. Its own deadline bounds this one.
		return velero.OperationProgress{Description: fmt.Sprintf("PodVolumeRestores cannot be listed: %v", err)}, nil
	}
	for i := range restores.Items {
		spec := &restores.Items[i].Spec
		if spec.Pod.Namespace == namespace && spec.PVC == claim {
			return velero.OperationProgress{
				Completed: true, Description: "content comes with pod " + namespace + "/" + spec.Pod.Name,
			}, nil
		}
	}
	empty := fmt.Sprintf("PersistentVolumeClaim %s/%s is restored without its content: restic restores it with a pod "+
		"that mounts it, and this restore has none. Delete the claim, and restore it together with its pods: without "+
		"--exclude-resources or --selector that leave them out", namespace, claim)
	return velero.OperationProgress{Completed: true, Err: empty, Description: empty}, nil
}

// Cancel has nothing to stop.
func (a *RestoreAction) Cancel(string, *velerov1.Restore) error { return nil }
