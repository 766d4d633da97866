// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package node runs a real one-node Kubernetes and an S3 gateway on this machine.
//
// Each cluster has its own network namespace, so ports, bridges and packet filter rules of clusters and of the machine
// do not conflict. One pair of virtual interfaces connects the cluster to the machine. A cluster writes all files to
// one directory, except its cgroups and the links in /var/log/containers, which Down removes.
//
// The cluster has no DNS: pods use IP addresses and the Service variables of their environment.
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

// DefaultName is the default name of a cluster.
const DefaultName = "demo"

// Root is the directory with a directory for each cluster of this machine.
const Root = "/var/lib/velero-restic-cluster"

// Node is a cluster of this machine, running or not.
type Node struct {
	name  string
	cache part.Cache
	out   io.Writer
	start time.Time
}

var validName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,19}$`)

// New returns the cluster with this name, without starting it. Its functions print a line for each step to out.
//
// It fails if the name is not a short DNS label, because the name is part of the node's name and of socket paths.
func New(name string, cache part.Cache, out io.Writer) (*Node, error) {
	if !validName.MatchString(name) {
		return nil, fmt.Errorf(
			"invalid cluster name %q: use up to 20 characters of a-z, 0-9 and -, starting with a letter", name)
	}
	return &Node{name: name, cache: cache, out: out, start: time.Now()}, nil
}

// Name returns the cluster's name, which is also the name of its context in the kubeconfig.
func (n *Node) Name() string { return n.name }

// NodeName returns the name of the node in Kubernetes.
func (n *Node) NodeName() string { return n.name + "-node" }

// State returns the directory of this cluster.
func (n *Node) State() string { return filepath.Join(Root, n.name) }

// Kubeconfig returns the path of the administrator's kubeconfig. It works on the machine itself.
func (n *Node) Kubeconfig() string { return n.path("kubeconfig") }

// KubeletRoot returns the kubelet's root directory. Volumes of pods are in <root>/pods.
func (n *Node) KubeletRoot() string { return n.path("kubelet") }

// Bin returns a directory with links to all built programs (kubectl, velero, …), for PATH.
func (n *Node) Bin() string { return n.path("bin") }

// Cache returns the cache of the programs.
func (n *Node) Cache() part.Cache { return n.cache }

// Processes returns the table of the programs of this cluster.
func (n *Node) Processes() process.Table {
	return process.Table{Records: n.path("processes"), Logs: n.path("logs")}
}

func (n *Node) path(elements ...string) string {
	return filepath.Join(append([]string{n.State()}, elements...)...)
}

// say prints a line of progress with the time since the command started.
func (n *Node) say(format string, args ...any) {
	fmt.Fprintf(n.out, "%6.1fs  %s\n", time.Since(n.start).Seconds(), fmt.Sprintf(format, args...))
}

// Plan has the decisions from the start of the cluster.
type Plan struct {
	// Index determines the cluster's addresses. It is unique on a machine.
	Index int `json:"index"`
	// Store is the bucket of Velero.
	Store Store `json:"store"`
	// Ready is true after everything has started. If it is false, the start did not finish.
	Ready bool `json:"ready"`
}

// ErrAbsent means that no cluster of this name was started, or that it was removed.
var ErrAbsent = errors.New("the cluster does not exist")

// Plan reads the plan of the cluster. It returns ErrAbsent if the cluster does not exist.
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
