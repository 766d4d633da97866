// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package command

import (
	"context"
	"fmt"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// RequireVelero returns an error if Velero's namespace has neither its Deployment nor a BackupStorageLocation. Without
// this check, a wrong namespace would look like a cluster without objects. Without permission to read these objects,
// trust the namespace that the user gave.
func (e *Environment) RequireVelero(ctx context.Context) error {
	api, err := e.Client()
	if err != nil {
		return err
	}
	key := client.ObjectKey{Namespace: e.Namespace(), Name: contract.VeleroDeployment}
	err = api.Get(ctx, key, &appsv1.Deployment{})
	switch {
	case err == nil, apierrors.IsForbidden(err):
		return nil
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("looking for Velero: %w", err)
	}
	locations := &velerov1.BackupStorageLocationList{}
	err = api.List(ctx, locations, client.InNamespace(key.Namespace), client.Limit(1))
	switch {
	case apierrors.IsForbidden(err):
		return nil
	case err != nil:
		return fmt.Errorf("looking for Velero's storage locations: %w", err)
	case len(locations.Items) > 0:
		return nil
	}
	return NewError(fmt.Errorf("there is no Velero in namespace %s", key.Namespace),
		"select its namespace with -n or the environment variable VELERO_NAMESPACE")
}
