// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volume

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// EnsureRepository returns the repository's object, and makes it again if the cluster has lost it. It may be made in
// the storage, too, for a backup, and not for a restore.
func EnsureRepository(
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
