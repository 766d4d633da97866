// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/process"
)

const cgroupMount = "/sys/fs/cgroup"

// cgroup returns the name of the cgroup of all pods of the cluster.
func (n *Node) cgroup() string { return "velero-restic-" + n.name }

// hierarchies returns the root directories of cgroups: one for version 2, one for each controller for version 1.
func hierarchies() ([]string, error) {
	if _, err := os.Stat(filepath.Join(cgroupMount, "cgroup.controllers")); err == nil {
		return []string{cgroupMount}, nil
	}
	entries, err := os.ReadDir(cgroupMount)
	if err != nil {
		return nil, fmt.Errorf("listing cgroups: %w", err)
	}
	var folders []string
	for _, entry := range entries {
		folder := filepath.Join(cgroupMount, entry.Name())
		// Links are aliases, such as cpu for cpu,cpuacct.
		if _, err := os.Stat(filepath.Join(folder, "cgroup.procs")); err == nil && entry.IsDir() {
			folders = append(folders, folder)
		}
	}
	return folders, nil
}

// createCgroups creates the cluster's cgroup in every hierarchy, because the kubelet rejects a cgroupRoot that does not
// exist.
func (n *Node) createCgroups() error {
	folders, err := hierarchies()
	if err != nil {
		return err
	}
	for _, folder := range folders {
		// In version 2, a group has only the controllers that its parent enables. Not every machine has all of them.
		for _, controller := range []string{"cpu", "cpuset", "io", "memory", "hugetlb", "pids"} {
			_ = os.WriteFile(filepath.Join(folder, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
		}
		group := filepath.Join(folder, n.cgroup())
		if err := os.MkdirAll(group, 0o755); err != nil {
			return fmt.Errorf("creating the cgroup: %w", err)
		}
		if filepath.Base(folder) != "cpuset" {
			continue
		}
		// In version 1, a new cpuset is empty, and an empty cpuset accepts no process.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(folder, file))
			if err != nil {
				return fmt.Errorf("reading the machine's cpuset: %w", err)
			}
			if err := os.WriteFile(filepath.Join(group, file), value, 0o644); err != nil {
				return fmt.Errorf("setting the cluster's cpuset: %w", err)
			}
		}
	}
	return nil
}

// groups returns the cgroups of the cluster, children before their parents.
func (n *Node) groups() ([]string, error) {
	folders, err := hierarchies()
	if err != nil {
		return nil, err
	}
	var groups []string
	for _, folder := range folders {
		top := filepath.Join(folder, n.cgroup())
		err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && entry.IsDir() {
				groups = append(groups, path)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("listing the cluster's cgroups: %w", err)
		}
	}
	slices.Reverse(groups)
	return groups, nil
}

// killPods stops every process in one of the cluster's cgroups. Only processes of its pods are there.
func (n *Node) killPods(ctx context.Context) error {
	groups, err := n.groups()
	if err != nil {
		return err
	}
	for _, group := range groups {
		content, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(content)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return fmt.Errorf("reading the processes of %s: %w", group, err)
			}
			if err := stopNow(ctx, pid); err != nil {
				return fmt.Errorf("stopping a process of a pod: %w", err)
			}
		}
	}
	return nil
}

func stopNow(ctx context.Context, pid int) error {
	identity, err := process.Of(pid)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return identity.Stop(ctx, 0)
}

func (n *Node) removeCgroups() error {
	groups, err := n.groups()
	if err != nil {
		return err
	}
	for _, group := range groups {
		if err := os.Remove(group); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("removing a cgroup: %w", err)
		}
	}
	return nil
}
