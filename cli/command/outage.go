// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import (
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Patience is for how long an API server that has answered before may be away: it may be restarting.
const MaxOutage = 3 * time.Minute

// Lasting says whether an error of the API server is one that trying again will not mend: it does not know the user, a
// right is missing, or the kind, or what is to be done with it.
func IsPermanent(err error) bool {
	return apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err) ||
		notInstalled(err)
}
