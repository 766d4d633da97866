// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package controller

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/hostpath"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// volumeOf collects what is needed to find a pod's volume on the node. Claims and PersistentVolumes are read from the
// API server: caching those of the whole cluster on each node would cost more than a backup's two reads.
func volumeOf(ctx context.Context, reader client.Reader, pod *corev1.Pod, name string) (hostpath.Volume, error) {
	volume := hostpath.Volume{Pod: pod, Name: name}
	claim := claimOf(pod, name)
	if claim == "" {
		return volume, nil
	}
	pvc := &corev1.PersistentVolumeClaim{}
	if err := reader.Get(ctx, client.ObjectKey{Namespace: pod.Namespace, Name: claim}, pvc); err != nil {
		return volume, fmt.Errorf("reading claim %s/%s: %w", pod.Namespace, claim, err)
	}
	volume.PVC = pvc
	if pvc.Spec.VolumeName == "" {
		return volume, nil
	}
	pv := &corev1.PersistentVolume{}
	if err := reader.Get(ctx, client.ObjectKey{Name: pvc.Spec.VolumeName}, pv); err != nil {
		return volume, fmt.Errorf("reading PersistentVolume %s: %w", pvc.Spec.VolumeName, err)
	}
	volume.PV = pv
	return volume, nil
}

// claimOf returns the name of the claim behind a pod's volume; empty for another volume, or for none.
func claimOf(pod *corev1.Pod, volume string) string {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.Name != volume {
			continue
		}
		switch {
		case v.PersistentVolumeClaim != nil:
			return v.PersistentVolumeClaim.ClaimName
		case v.Ephemeral != nil:
			// Kubernetes names the claim of a generic ephemeral volume so (Kubernetes v1.36,
			// staging/src/k8s.io/component-helpers/storage/ephemeral/ephemeral.go, VolumeClaimName).
			return pod.Name + "-" + v.Name
		}
	}
	return ""
}

// repositoryFor returns the repository's object, and makes it again if the cluster has lost it. It may be made in the
// storage, too, for a backup, and not for a restore.
func repositoryFor(
	ctx context.Context, c client.Client, wanted *resticv1.ResticRepository,
) (*resticv1.ResticRepository, error) {
	found := &resticv1.ResticRepository{}
	err := c.Get(ctx, client.ObjectKeyFromObject(wanted), found)
	switch {
	case apierrors.IsNotFound(err):
		if err := c.Create(ctx, wanted); client.IgnoreAlreadyExists(err) != nil {
			return nil, fmt.Errorf("creating ResticRepository %s: %w", wanted.Name, err)
		}
		return wanted, nil
	case err != nil:
		return nil, fmt.Errorf("reading ResticRepository %s: %w", wanted.Name, err)
	case !found.Spec.OpenOnly || wanted.Spec.OpenOnly:
		return found, nil
	}
	before := found.DeepCopy()
	found.Spec.OpenOnly = false
	if err := c.Patch(ctx, found, client.MergeFrom(before)); err != nil {
		return nil, fmt.Errorf("letting ResticRepository %s be made: %w", wanted.Name, err)
	}
	return found, nil
}

func setWarnings(status *resticv1.VolumeStatus, warnings restic.Warnings) {
	first := warnings.First
	if len(first) > resticv1.MaxWarnings {
		first = first[:resticv1.MaxWarnings]
	}
	status.Warnings, status.WarningCount = first, warnings.Count
}

// conflictRetry is how soon an object is looked at again whose cached copy was behind: by then the cache has caught up.
const conflictRetry = 100 * time.Millisecond

// settled is the end of a reconcile. A conflict is no error: the object has changed since it was read, and what was
// found out is found out again.
func settled(result ctrl.Result, err error) (ctrl.Result, error) {
	switch {
	case apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: conflictRetry}, nil
	case err != nil:
		return ctrl.Result{}, err
	}
	return result, nil
}
