// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package status writes the status of this project's custom resources. Every controller of the agent uses it, so that
// all writers follow one rule for conflicts.
package status

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Save writes the status of an object if it differs from before, the object as the caller read it. It returns true if
// the API server has this status now, also if there was nothing to write, and false if the object no longer exists.
//
// The patch contains the difference and the resource version of before. So a decision is only written to the object on
// which it was based: several controllers and both programs write to the same objects, and a merge patch replaces a
// list, such as the conditions, as a whole. If another writer was faster, Save returns an error for which
// apierrors.IsConflict is true. A reconciler passes that to worker.RequeueOnConflict and decides again; a caller whose
// work comes again by itself uses IgnoreConflict.
func Save(ctx context.Context, c client.StatusClient, before, object client.Object) (bool, error) {
	if equality.Semantic.DeepEqual(before, object) {
		return true, nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	err := c.Status().Patch(ctx, object, patch)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("saving the status of %s: %w", object.GetName(), err)
	}
	return true, nil
}

// IgnoreConflict returns nil for a conflict, and any other error as it is.
func IgnoreConflict(err error) error {
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}
