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

// Down stops the cluster and removes all of it: processes, pods, mounts, network, cgroups and the state folder with its
// bucket. A cluster that is not there is no error. Nothing is touched that is not recorded as this cluster's.
func (n *Node) Down(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("taking the cluster down: it must run as root: start it with sudo or in a root shell")
	}
	unlock, err := lockMachine(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(n.State()); errors.Is(err, fs.ErrNotExist) {
		n.say("cluster %s is not there", n.name)
		return nil
	}
	if err := n.clear(ctx); err != nil {
		return err
	}
	n.say("cluster %s is gone", n.name)
	return nil
}

// clear removes everything of the cluster in whatever state it is, also after a crash or a reboot.
func (n *Node) clear(ctx context.Context) error {
	if _, err := os.Stat(n.State()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	plan, err := n.Plan()
	if err != nil && !errors.Is(err, ErrAbsent) {
		return err
	}
	known := err == nil
	n.say("clearing cluster %s", n.name)
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
		return fmt.Errorf("removing the state folder: %w", err)
	}
	return nil
}

// stopAll stops the kubelet first, so that nothing starts pods again, then pods, then what they ran on.
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
	// The API server would wait a minute for watches to end; etcd has nothing to save.
	for _, name := range []string{csiProcess, containerdProcess, apiProcess, etcdProcess, gatewayProcess} {
		if err := table.Stop(ctx, name, 2*time.Second); err != nil {
			return err
		}
	}
	return nil
}

// deleteTasks lets containerd end the containers, so that shims remove their sockets in /run. Whatever it cannot do
// (after a crash it does not run) killPods and killShims do, so its errors do not matter.
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

// killShims ends containerd's shims of this cluster, told by the address of its containerd in their arguments.
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
			return fmt.Errorf("reading the id of a process: %w", err)
		}
		if err := stopNow(ctx, pid); err != nil {
			return fmt.Errorf("ending a container's shim: %w", err)
		}
	}
	return nil
}

// isShimOf reads /proc/<pid>/cmdline: arguments that end with a zero byte each.
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

// lockMachine lets only one cluster of the machine start or stop at a time: they choose addresses from one pool.
func lockMachine(ctx context.Context) (func(), error) {
	if err := os.MkdirAll(Root, 0o755); err != nil {
		return nil, fmt.Errorf("making the folder for clusters: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(Root, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the clusters of this machine: %w", err)
	}
	for {
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			return func() { _ = file.Close() }, nil // the end of the process would unlock it too
		}
		select {
		case <-ctx.Done():
			_ = file.Close() // nothing was written
			return nil, fmt.Errorf("waiting for another cluster's start or stop: %w", ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}
