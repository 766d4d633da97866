// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package maintenance

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/agent/maintenance/jobspec"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

const (
	// maxListings is how many lists are made in the cluster at a time.
	maxListings = 4
	// listInterval is how soon a list that waits for others is looked at again.
	listInterval = 5 * time.Second
)

// list does what is asked for in requests.snapshots. It goes its own way beside all other operations, on any of which
// it neither waits nor has them wait: it takes no lock. Somebody waits for it, so that what cannot be done fails at
// once. The result says when to look again; never if that is zero.
func (r *Reconciler) list(
	ctx context.Context, repository *resticv1.ResticRepository, settings jobspec.Settings,
) (ctrl.Result, error) {
	if running := runningList(repository); running != nil {
		return r.observe(ctx, repository, running, settings)
	}
	requestID := repository.Spec.Requests.Snapshots
	if requestID == "" || requestID == repository.Status.Served.Snapshots {
		return ctrl.Result{}, nil
	}
	if phase := repository.Status.Phase; phase == "" || phase == resticv1.RepositoryNew {
		return ctrl.Result{RequeueAfter: listInterval}, nil // it is being opened
	}
	cause, err := r.listFailure(ctx, repository)
	if err != nil {
		return ctrl.Result{}, err
	}
	if cause == "" {
		if full, err := r.listLimitReached(ctx, repository.Namespace); err != nil || full {
			return ctrl.Result{RequeueAfter: listInterval}, err
		}
	}
	r.begin(repository, &due{operation: resticv1.OperationSnapshots, request: requestID})
	if cause != "" {
		entry := runningList(repository)
		entry.Job = ""
		r.conclude(repository, entry, failure(cause))
	}
	return ctrl.Result{RequeueAfter: time.Second}, nil
}

// listFailure says why a list cannot be made; empty if it can.
func (r *Reconciler) listFailure(
	ctx context.Context, repository *resticv1.ResticRepository,
) (string, error) {
	if repository.Status.Phase != resticv1.RepositoryReady {
		return "the repository is not ready: " + repository.Status.Message, nil
	}
	_, err := r.daemonSet(ctx, repository.Namespace)
	if apierrors.IsNotFound(err) {
		return noDaemonSet(repository.Namespace), nil
	}
	return "", err
}

// listLimitReached says whether as many lists are being made as may.
func (r *Reconciler) listLimitReached(ctx context.Context, namespace string) (bool, error) {
	all := &resticv1.ResticRepositoryList{}
	if err := r.Reader.List(ctx, all, client.InNamespace(namespace)); err != nil {
		return false, fmt.Errorf("listing repositories: %w", err)
	}
	running := 0
	for i := range all.Items {
		if runningList(&all.Items[i]) != nil {
			running++
		}
	}
	return running >= maxListings, nil
}

func runningList(repository *resticv1.ResticRepository) *resticv1.Maintenance {
	for i := range repository.Status.Maintenance {
		entry := &repository.Status.Maintenance[i]
		if entry.Operation == resticv1.OperationSnapshots && entry.Result == resticv1.MaintenanceRunning {
			return entry
		}
	}
	return nil
}

// earliest returns the result that looks again first.
func earliest(a, b ctrl.Result) ctrl.Result {
	if a.RequeueAfter == 0 || (b.RequeueAfter > 0 && b.RequeueAfter < a.RequeueAfter) {
		return b
	}
	return a
}
