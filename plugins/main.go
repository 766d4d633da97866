// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Command velero-plugin-for-restic is the plugin that Velero's server starts for each backup, restore and deletion. It
// only registers; each package below it is one action.
package main

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/sirupsen/logrus"
	"github.com/spf13/pflag"
	"github.com/vmware-tanzu/velero/pkg/plugin/framework"
	"github.com/vmware-tanzu/velero/pkg/plugin/framework/common"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/ownresources"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/podbackup"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/podblock"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/podrestore"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/reprovision"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/snapshotdelete"
)

func main() {
	// Velero also starts the plugin just to ask what it registers: the cluster is first looked for by an action.
	connect := sync.OnceValues(connect)
	framework.NewServer().
		BindFlags(pflag.CommandLine).
		RegisterItemBlockAction(contract.PluginPrefix, action(connect, podblock.New)).
		RegisterBackupItemActionV2(contract.PluginPrefix, action(connect, podbackup.New)).
		RegisterRestoreItemActionV2(contract.PluginPrefix, action(connect, podrestore.New)).
		RegisterDeleteItemAction(contract.PluginPrefix, action(connect, snapshotdelete.New)).
		RegisterBackupItemActionV2(reprovision.PluginName, action(connect, reprovision.NewBackupAction)).
		RegisterRestoreItemActionV2(reprovision.PluginName, action(connect, reprovision.NewRestoreAction)).
		RegisterRestoreItemActionV2(ownresources.PluginName, action(connect, ownresources.New)).
		Serve()
}

// connect finds the API server as Velero's server does, whose environment the plugin has: by kubeconfig, else from
// inside the cluster (velero v1.18.3, pkg/client/client.go).
func connect() (*cluster.Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the API server: %w", err)
	}
	return cluster.Connect(context.Background(), config, os.Getenv("VELERO_NAMESPACE"))
}

// action returns what Velero's framework builds an action with, once for each process.
func action[Action any](
	connect func() (*cluster.Cluster, error), build func(logrus.FieldLogger, *cluster.Cluster) Action,
) common.HandlerInitializer {
	return func(log logrus.FieldLogger) (any, error) {
		c, err := connect()
		if err != nil {
			return nil, err
		}
		return build(log, c), nil
	}
}
