// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import (
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// MaxOutage is how long commands retry if the API server stops answering. It may be restarting.
const MaxOutage = 3 * time.Minute

// IsPermanent returns whether a retry will not help, because the API server rejected the credentials or the permission,
// or does not serve the kind or the verb.
func IsPermanent(err error) bool {
	return apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err) ||
		notInstalled(err)
}
