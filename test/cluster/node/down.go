// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Down stops the cluster and removes everything: processes, pods, mounts, network, cgroups and the state directory with
// the bucket. It succeeds if the cluster does not exist. It only removes what is recorded as part of this cluster.
func (n *Node) Down(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("stopping the cluster needs root: start it with sudo or in a root shell")
	}
	unlock, err := lockMachine(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(n.State()); errors.Is(err, fs.ErrNotExist) {
		n.say("cluster %s does not exist", n.name)
		return nil
	}
	if err := n.clear(ctx); err != nil {
		return err
	}
	n.say("cluster %s is removed", n.name)
	return nil
}

// clear removes everything of the cluster in any state, also after a crash or a reboot.
func (n *Node) clear(ctx context.Context) error {
	if _, err := os.Stat(n.State()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	plan, err := n.Plan()
	if err != nil && !errors.Is(err, ErrAbsent) {
		return err
	}
	known := err == nil
	n.say("removing cluster %s", n.name)
	if err := n.stopAll(ctx); err != nil {
		return err
	}
	if err := n.unmountAll(); err != nil {
		return err
	}
	if known {
		if err := n.removeNetwork(ctx, addresses{plan.Index}); err != nil {
			return err
		}
	}
	if err := n.removeCgroups(); err != nil {
		return err
	}
	if err := n.removeLeftovers(); err != nil {
		return err
	}
	if err := os.RemoveAll(n.State()); err != nil {
		return fmt.Errorf("removing the state directory: %w", err)
	}
	return nil
}

// stopAll first stops the kubelet, so that nothing restarts pods, then the pods, and then the other programs.
func (n *Node) stopAll(ctx context.Context) error {
	table := n.Processes()
	for _, name := range []string{kubeletProcess, proxyProcess, schedulerProcess, managerProcess} {
		if err := table.Stop(ctx, name, 3*time.Second); err != nil {
			return err
		}
	}
	n.deleteTasks(ctx)
	if err := n.killPods(ctx); err != nil {
		return err
	}
	if err := n.killShims(ctx); err != nil {
		return err
	}
	// The grace period is short: the API server would wait a minute for watches to end, and etcd has nothing to save.
	for _, name := range []string{csiProcess, containerdProcess, apiProcess, etcdProcess, gatewayProcess} {
		if err := table.Stop(ctx, name, 2*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// deleteTasks makes containerd stop the containers, so that shims remove their sockets in /run. It ignores errors, for
// example if containerd does not run after a crash, because killPods and killShims stop the rest.
func (n *Node) deleteTasks(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	list, err := n.ctr(ctx, "tasks", "list", "--quiet")
	if err != nil {
		return
	}
	for id := range strings.FieldsSeq(list) {
		_, _ = n.ctr(ctx, "tasks", "delete", "--force", id)
	}
}

// killShims stops the shims of this cluster's containerd. Their arguments contain the address of that containerd.
func (n *Node) killShims(ctx context.Context) error {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return fmt.Errorf("listing processes: %w", err)
	}
	for _, file := range files {
		arguments, err := os.ReadFile(file)
		if err != nil || !isShimOf(arguments, n.containerdSocket()) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return fmt.Errorf("reading the ID of a process: %w", err)
		}
		if err := stopNow(ctx, pid); err != nil {
			return fmt.Errorf("stopping the shim of a container: %w", err)
		}
	}
	return nil
}

// isShimOf returns whether the content of /proc/<pid>/cmdline is a shim of the containerd with this socket. Each
// argument ends with a zero byte.
func isShimOf(cmdline []byte, socket string) bool {
	arguments := bytes.Split(bytes.TrimSuffix(cmdline, []byte{0}), []byte{0})
	if !strings.HasPrefix(filepath.Base(string(arguments[0])), "containerd-shim") {
		return false
	}
	for i := 1; i+1 < len(arguments); i++ {
		if string(arguments[i]) == "-address" && string(arguments[i+1]) == socket {
			return true
		}
	}
	return false
}

// lockMachine ensures that only one cluster of the machine starts or stops at a time, because they share an address
// pool.
func lockMachine(ctx context.Context) (func(), error) {
	if err := os.MkdirAll(Root, 0o755); err != nil {
		return nil, fmt.Errorf("creating the directory for clusters: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(Root, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the clusters of this machine: %w", err)
	}
	for {
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			return func() { _ = file.Close() }, nil // the end of the process also unlocks it
		}
		select {
		case <-ctx.Done():
			_ = file.Close() // nothing was written
			return nil, fmt.Errorf("waiting for another cluster's start or stop: %w", ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}
