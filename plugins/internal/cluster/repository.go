// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package cluster

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/repository"
)

// Use says what a repository is asked for.
type Use bool

// A backup needs the repository, whether it exists yet or not. A restore needs what is in it, and must not make one.
const (
	ToBackUp  Use = true
	ToRestore Use = false
)

// EnsureRepository makes the ResticRepository of a namespace in a storage location unless it is there, and returns it.
// It does not wait until the repository can be used: that is the leader's work.
func (c *Cluster) EnsureRepository(volumeNamespace, location string, use Use) (*resticv1.ResticRepository, error) {
	object := repository.ForNamespace(c.Namespace, volumeNamespace, location, 0)
	name := object.Name
	var existing resticv1.ResticRepository
	err := c.Get(c.Namespace, name, &existing)
	switch {
	case apierrors.IsNotFound(err):
		object.Spec.OpenOnly = use == ToRestore
		err = c.Retry(func() error { return c.Client.Create(c.Context, object) })
		if err == nil {
			return object, nil
		}
		if apierrors.IsAlreadyExists(err) {
			err = c.Get(c.Namespace, name, &existing)
		}
	case err == nil && existing.Spec.OpenOnly && use == ToBackUp:
		before := existing.DeepCopy()
		existing.Spec.OpenOnly = false
		err = c.Retry(func() error { return c.Client.Patch(c.Context, &existing, client.MergeFrom(before)) })
	}
	if err != nil {
		return nil, fmt.Errorf("making ResticRepository %s/%s for namespace %s: %w", c.Namespace, name,
			volumeNamespace, err)
	}
	return &existing, nil
}
