// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package main installs Velero and this project on a running test cluster: go run ./test/install/cmd.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/node"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
	"github.com/velero-restic/velero-plugin-for-restic/test/install"
)

func main() {
	name := flag.String("name", node.DefaultName, "name of the cluster")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *name)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "install:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, name string) error {
	cache, err := part.Find(ctx)
	if err != nil {
		return err
	}
	n, err := node.New(name, cache, os.Stdout)
	if err != nil {
		return err
	}
	images := filepath.Join(cache.Repository, filepath.FromSlash(install.Images))
	version, err := install.Version(images)
	if err != nil {
		return err
	}
	if err := velero.Install(ctx, n, velero.Options{}, os.Stdout); err != nil {
		return err
	}
	options := install.Options{Repository: cache.Repository, Images: images, Version: version}
	return install.Install(ctx, n, options, os.Stdout)
}
