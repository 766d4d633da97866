// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package cluster

import (
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/repository"
)

// maintenanceFrequency is how often a new repository is pruned, as Velero <= 1.9 had it.
const maintenanceFrequency = 7 * 24 * time.Hour

// EnsureRepository makes the ResticRepository of a namespace in a storage location unless it is there. It does not
// wait until the repository can be used: that is the leader's work.
func (c *Cluster) EnsureRepository(volumeNamespace, location string) error {
	name := contract.RepositoryName(volumeNamespace, location)
	var existing resticv1.ResticRepository
	err := c.Get(c.Namespace, name, &existing)
	if apierrors.IsNotFound(err) {
		object := repository.ForNamespace(c.Namespace, volumeNamespace, location, maintenanceFrequency)
		err = c.Retry(func() error { return c.Client.Create(c.Context, object) })
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making ResticRepository %s/%s for namespace %s: %w", c.Namespace, name, volumeNamespace, err)
	}
	return nil
}
