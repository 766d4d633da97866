// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package ownresources is the RestoreItemAction that leaves our own custom resources in the backup out of a restore. In
// a new cluster the agents would take them for work to do.
package ownresources

import (
	"github.com/sirupsen/logrus"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/plugin/velero"
	restoreitemaction "github.com/vmware-tanzu/velero/pkg/plugin/velero/restoreitemaction/v2"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster"
)

// PluginName is the name that the action is registered under.
const PluginName = "velero.io/restic-resources"

// Action implements Velero's RestoreItemAction v2.
type Action struct{}

// New returns the action. It needs neither log nor cluster.
func New(logrus.FieldLogger, *cluster.Cluster) *Action { return &Action{} }

// Name returns the name that the action is registered under.
func (*Action) Name() string { return PluginName }

// AppliesTo selects our kinds.
func (*Action) AppliesTo() (velero.ResourceSelector, error) {
	return velero.ResourceSelector{IncludedResources: []string{
		resticv1.ResourcePodVolumeBackups + "." + resticv1.GroupName,
		resticv1.ResourcePodVolumeRestores + "." + resticv1.GroupName,
		resticv1.ResourceResticRepositories + "." + resticv1.GroupName,
	}}, nil
}

// Execute leaves the item out.
func (*Action) Execute(input *velero.RestoreItemActionExecuteInput) (*velero.RestoreItemActionExecuteOutput, error) {
	return velero.NewRestoreItemActionExecuteOutput(input.Item).WithoutRestore(), nil
}

// Progress fails: the action starts no operation.
func (*Action) Progress(operationID string, _ *velerov1.Restore) (velero.OperationProgress, error) {
	return velero.OperationProgress{}, restoreitemaction.InvalidOperationIDError(operationID)
}

// Cancel fails: the action starts no operation.
func (*Action) Cancel(operationID string, _ *velerov1.Restore) error {
	return restoreitemaction.InvalidOperationIDError(operationID)
}

// AreAdditionalItemsReady is true: the action returns none.
func (*Action) AreAdditionalItemsReady([]velero.ResourceIdentifier, *velerov1.Restore) (bool, error) {
	return true, nil
}
