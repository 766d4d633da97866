// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Command demo backs up real volumes with restic through an unmodified Velero, deletes their namespace, restores it,
// and compares every file with the original.
//
//	go run ./test/demo          use its own cluster, named demo, and leave it running
//	go run ./test/demo check    only check whether this machine can run that cluster
//
// With CLUSTER=existing and KUBECONFIG, it uses that cluster. Velero (in VELERO_NAMESPACE, else velero) and this
// project must be installed on it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/existing"
)

// timeout limits the whole demo. The first run builds Kubernetes and Velero, which takes ten minutes on two cores.
const timeout = 40 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	err := run(ctx, os.Args[1:])
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\nThe demo failed:", err)
		os.Exit(1)
	}
}

// run is the only function that reads the arguments and the environment.
func run(ctx context.Context, arguments []string) error {
	check := len(arguments) == 1 && arguments[0] == "check"
	if len(arguments) > 0 && !check {
		return fmt.Errorf("unknown arguments %q: use no argument, or check", arguments)
	}
	chosen, err := existing.Chosen(os.Getenv("CLUSTER"))
	if err != nil {
		return err
	}
	t := newTerminal(os.Stdout)
	var target clusterTarget
	if chosen {
		target, err = existingCluster(ctx, t, os.Getenv("KUBECONFIG"), os.Getenv("VELERO_NAMESPACE"))
	} else {
		target, err = demoCluster(ctx, t)
	}
	if err != nil || check {
		return err
	}
	private, err := os.MkdirTemp("", "velero-restic-demo-")
	if err != nil {
		return fmt.Errorf("creating a directory for the demo's files: %w", err)
	}
	err = newDemo(t, target, private).run(ctx)
	return errors.Join(err, os.RemoveAll(private))
}
