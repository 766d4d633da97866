// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package node runs a real one-node Kubernetes on this machine, with an S3 gateway beside it.
//
// Every cluster lives in a network namespace of its own, so that ports, bridges and packet filter rules of two never
// meet, and none of them touches the machine's own. One pair of virtual interfaces joins it to the machine. All that a
// cluster writes is below one folder, apart from its cgroups and the dangling links in /var/log/containers, which go
// when it goes.
//
// There is no DNS in the cluster: pods use addresses and the Service variables of their environment.
package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/process"
)

// DefaultName is the cluster that commands mean when they name none.
const DefaultName = "demo"

// Root is the folder with one folder for each cluster of this machine.
const Root = "/var/lib/velero-restic-cluster"

// Node is one cluster of this machine, whether it runs or not.
type Node struct {
	name  string
	cache part.Cache
	out   io.Writer
	start time.Time
}

var validName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,19}$`)

// New names a cluster; nothing is started. Progress is told on out, a line a step.
//
// The name must be a short DNS label: it becomes part of the node's name and of paths of sockets.
func New(name string, cache part.Cache, out io.Writer) (*Node, error) {
	if !validName.MatchString(name) {
		return nil, fmt.Errorf("cluster name %q is not usable: up to 20 of a-z, 0-9 and -, the first a letter", name)
	}
	return &Node{name: name, cache: cache, out: out, start: time.Now()}, nil
}

// Name is the cluster's name, which is also the name of its context in the kubeconfig.
func (n *Node) Name() string { return n.name }

// NodeName is what Kubernetes calls the node.
func (n *Node) NodeName() string { return n.name + "-node" }

// State is the folder with everything that belongs to this cluster.
func (n *Node) State() string { return filepath.Join(Root, n.name) }

// Kubeconfig is the path of the administrator's kubeconfig. It works from the machine itself.
func (n *Node) Kubeconfig() string { return n.path("kubeconfig") }

// KubeletRoot is the kubelet's root folder: volumes of pods are below <root>/pods.
func (n *Node) KubeletRoot() string { return n.path("kubelet") }

// Bin is a folder with links to every built program (kubectl, velero, …), for PATH.
func (n *Node) Bin() string { return n.path("bin") }

// Cache is where the programs come from.
func (n *Node) Cache() part.Cache { return n.cache }

// Processes is the table of the programs that this cluster consists of.
func (n *Node) Processes() process.Table {
	return process.Table{Records: n.path("processes"), Logs: n.path("logs")}
}

func (n *Node) path(elements ...string) string {
	return filepath.Join(append([]string{n.State()}, elements...)...)
}

// say prints one line of progress with the time since the command began.
func (n *Node) say(format string, args ...any) {
	fmt.Fprintf(n.out, "%6.1fs  %s\n", time.Since(n.start).Seconds(), fmt.Sprintf(format, args...))
}

// Plan is what was decided when the cluster was started.
type Plan struct {
	// Index chooses the cluster's addresses: no two clusters of a machine have the same.
	Index int `json:"index"`
	// Store is where Velero keeps its backups.
	Store Store `json:"store"`
	// Ready is set once everything runs; a cluster without it was never finished.
	Ready bool `json:"ready"`
}

// ErrAbsent means that no cluster of this name was started, or that it was taken down.
var ErrAbsent = errors.New("there is no such cluster")

// Plan reads what was decided. It returns ErrAbsent when there is no such cluster.
func (n *Node) Plan() (Plan, error) {
	var plan Plan
	content, err := os.ReadFile(n.path("plan.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return plan, fmt.Errorf("reading the state of cluster %s (start it with: go run ./test/cluster up --name "+
			"%s): %w", n.name, n.name, ErrAbsent)
	}
	if err != nil {
		return plan, fmt.Errorf("reading the state of cluster %s: %w", n.name, err)
	}
	if err := json.Unmarshal(content, &plan); err != nil {
		return plan, fmt.Errorf("reading the state of cluster %s: %w", n.name, err)
	}
	return plan, nil
}

func (n *Node) savePlan(plan Plan) error {
	content, err := json.MarshalIndent(plan, "", "  ")
	if err != nil {
		return fmt.Errorf("recording cluster %s: %w", n.name, err)
	}
	temporary := n.path("plan.json.new")
	if err := os.WriteFile(temporary, content, 0o600); err != nil {
		return fmt.Errorf("recording cluster %s: %w", n.name, err)
	}
	if err := os.Rename(temporary, n.path("plan.json")); err != nil {
		return fmt.Errorf("recording cluster %s: %w", n.name, err)
	}
	return nil
}
