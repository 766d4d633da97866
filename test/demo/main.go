// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Command demo backs up real volumes with restic through an unmodified Velero, deletes their namespace, restores it,
// and compares every file with what was there.
//
//	go run ./test/demo          on a cluster of its own, named demo, which it leaves running
//	go run ./test/demo check    only look whether this machine can run that cluster
//
// With CLUSTER=existing and KUBECONFIG it uses that cluster, where Velero (VELERO_NAMESPACE, else velero) and this
// project must be installed already.
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

// patience bounds the whole demo. Without anything built, Kubernetes and Velero take ten minutes on two cores.
const patience = 40 * time.Minute

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, patience)
	err := run(ctx, os.Args[1:])
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\nThe demo did not succeed:", err)
		os.Exit(1)
	}
}

// run reads the arguments and the environment; nothing below it does.
func run(ctx context.Context, arguments []string) error {
	check := len(arguments) == 1 && arguments[0] == "check"
	if len(arguments) > 0 && !check {
		return fmt.Errorf("%q is not understood: give no argument, or check", arguments)
	}
	chosen, err := existing.Chosen(os.Getenv("CLUSTER"))
	if err != nil {
		return err
	}
	t := newTerminal(os.Stdout)
	var target place
	if chosen {
		target, err = foreignPlace(ctx, t, os.Getenv("KUBECONFIG"), os.Getenv("VELERO_NAMESPACE"))
	} else {
		target, err = ownPlace(ctx, t)
	}
	if err != nil || check {
		return err
	}
	private, err := os.MkdirTemp("", "velero-restic-demo-")
	if err != nil {
		return fmt.Errorf("making a folder for the demo's own files: %w", err)
	}
	err = newDemo(t, target, private).run(ctx)
	return errors.Join(err, os.RemoveAll(private))
}
