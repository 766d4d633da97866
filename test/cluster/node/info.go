// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package node

import (
	"context"
	"fmt"
	"time"
)

// Info has the properties of a running cluster, for tests and scripts.
type Info struct {
	Name       string `json:"name"`
	Node       string `json:"node"`
	Ready      bool   `json:"ready"`
	API        string `json:"api"`
	Kubeconfig string `json:"kubeconfig"`
	// Bin is a directory with the pinned kubectl and velero, for PATH.
	Bin         string `json:"bin"`
	KubeletRoot string `json:"kubeletRoot"`
	Logs        string `json:"logs"`
	// Host is the address under which pods reach servers on the machine.
	Host  string `json:"host"`
	Store Store  `json:"store"`
	// Processes has true for each running program.
	Processes map[string]bool `json:"processes"`
}

// Info reads the state of the cluster. It returns ErrAbsent if the cluster does not exist.
func (n *Node) Info() (Info, error) {
	plan, err := n.Plan()
	if err != nil {
		return Info{}, err
	}
	records, err := n.Processes().List()
	if err != nil {
		return Info{}, err
	}
	info := Info{
		Name: n.name, Node: n.NodeName(), Ready: plan.Ready, API: plan.API(), Kubeconfig: n.Kubeconfig(), Bin: n.Bin(),
		KubeletRoot: n.KubeletRoot(), Logs: n.path("logs"), Host: plan.Host(), Store: plan.Store,
		Processes: map[string]bool{},
	}
	for _, record := range records {
		alive := record.Identity.Alive()
		info.Processes[record.Command.Name] = alive
		info.Ready = info.Ready && alive
	}
	return info, nil
}

// Restart stops one of the cluster's programs (kubelet, containerd, kube-apiserver, …) and starts the same command
// again. It fails if the cluster has no such program.
func (n *Node) Restart(ctx context.Context, program string) error {
	table := n.Processes()
	records, err := table.List()
	if err != nil {
		return err
	}
	for _, record := range records {
		if record.Command.Name != program {
			continue
		}
		if err := table.Stop(ctx, program, 10*time.Second); err != nil {
			return err
		}
		return table.Start(record.Command)
	}
	return fmt.Errorf("restarting %s: cluster %s has no program of that name", program, n.name)
}
