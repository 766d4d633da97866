// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package node

import (
	"fmt"
	"os"
	"path/filepath"
)

// maxClusters is the maximum number of clusters on a machine. Each has a value of the third byte of an address.
const maxClusters = 200

// addresses are the addresses of a cluster, from 10.197.0.0/16 to 10.199.0.0/16. Other machines cannot reach them.
type addresses struct{ index int }

// host returns the machine's address of the pair, under which pods reach servers on the machine.
func (a addresses) host() string { return fmt.Sprintf("10.197.%d.1", a.index) }

// node returns the cluster's address of the pair, on which the API server and the kubelet listen.
func (a addresses) node() string { return fmt.Sprintf("10.197.%d.2", a.index) }

func (a addresses) link() string     { return fmt.Sprintf("vrestic%d", a.index) }
func (a addresses) pods() string     { return fmt.Sprintf("10.198.%d.0/24", a.index) }
func (a addresses) services() string { return fmt.Sprintf("10.199.%d.0/24", a.index) }

// api returns the address of the Service `kubernetes`, which is always the first of the range.
func (a addresses) api() string { return fmt.Sprintf("10.199.%d.1", a.index) }

// Host returns the address under which pods of this cluster reach servers on the machine.
func (p Plan) Host() string { return addresses{p.Index}.host() }

// API returns the URL of the API server, for the machine.
func (p Plan) API() string { return fmt.Sprintf("https://%s:6443", addresses{p.Index}.node()) }

// linked returns whether the machine has an interface with the name of this cluster's interface.
func (a addresses) linked() bool {
	_, err := os.Stat(filepath.Join("/sys/class/net", a.link()))
	return err == nil
}

// freeIndex returns the lowest index that no other cluster of the machine uses. It fails if all are in use.
func (n *Node) freeIndex() (int, error) {
	states, err := filepath.Glob(filepath.Join(Root, "*", "plan.json"))
	if err != nil {
		return 0, fmt.Errorf("listing clusters: %w", err)
	}
	taken := map[int]bool{}
	for _, state := range states {
		other := &Node{name: filepath.Base(filepath.Dir(state))}
		plan, err := other.Plan()
		if err != nil {
			return 0, err
		}
		taken[plan.Index] = true
	}
	for index := range maxClusters {
		// An interface without a state directory may belong to another tool, so skip its index.
		if !taken[index] && !(addresses{index}).linked() {
			return index, nil
		}
	}
	return 0, fmt.Errorf("choosing addresses: all %d are in use, stop a cluster first", maxClusters)
}
