// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package worker

import (
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
)

// ErrObjectGone is why a job is canceled whose object was deleted.
var ErrObjectGone = errors.New("its object was deleted")

// conflictRetry is how soon an object is looked at again whose cached copy was behind: by then the cache has caught up.
const conflictRetry = 100 * time.Millisecond

// RequeueOnConflict is the end of a reconcile. A conflict is no error: the object has changed since it was read, and
// what was found out is found out again.
func RequeueOnConflict(result ctrl.Result, err error) (ctrl.Result, error) {
	switch {
	case apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: conflictRetry}, nil
	case err != nil:
		return ctrl.Result{}, err
	}
	return result, nil
}
