// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package node

import (
	"fmt"
	"os"
	"path/filepath"
)

// maxClusters is how many clusters fit on a machine: each has one value of an address's third byte.
const maxClusters = 200

// addresses are a cluster's own, all from 10.197.0.0/16 to 10.199.0.0/16, none of them reachable from elsewhere.
type addresses struct{ index int }

// host is the machine's end of the pair: pods reach servers on the machine here.
func (a addresses) host() string { return fmt.Sprintf("10.197.%d.1", a.index) }

// node is the cluster's end: the API server and kubelet answer here.
func (a addresses) node() string { return fmt.Sprintf("10.197.%d.2", a.index) }

func (a addresses) link() string     { return fmt.Sprintf("vrestic%d", a.index) }
func (a addresses) pods() string     { return fmt.Sprintf("10.198.%d.0/24", a.index) }
func (a addresses) services() string { return fmt.Sprintf("10.199.%d.0/24", a.index) }

// api is the address of the Service `kubernetes`: always the first of the range.
func (a addresses) api() string { return fmt.Sprintf("10.199.%d.1", a.index) }

// Host is the address under which pods of this cluster reach servers that listen on the machine.
func (p Plan) Host() string { return addresses{p.Index}.host() }

// API is the URL of the API server, as seen from the machine.
func (p Plan) API() string { return fmt.Sprintf("https://%s:6443", addresses{p.Index}.node()) }

// linked says whether the machine has an interface with the name of this cluster's.
func (a addresses) linked() bool {
	_, err := os.Stat(filepath.Join("/sys/class/net", a.link()))
	return err == nil
}

// freeIndex picks the lowest index that no other cluster of the machine has taken.
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
		// An interface without a state folder may be another tool's: leave it alone.
		if !taken[index] && !(addresses{index}).linked() {
			return index, nil
		}
	}
	return 0, fmt.Errorf("choosing addresses: all %d are taken, take a cluster down first", maxClusters)
}
