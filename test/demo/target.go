// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/existing"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/host"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/node"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
	"github.com/velero-restic/velero-plugin-for-restic/test/install"
)

// clusterTarget is the cluster on which the demo runs.
type clusterTarget struct {
	// node is the demo's own cluster; nil for a user's cluster.
	node *node.Node
	// repository is the directory of the product's go.mod.
	repository string
	kubeconfig string
	// namespace is the namespace of Velero.
	namespace string
	// programs are the paths of kubectl and velero.
	programs map[string]string
}

// freeSpace is the disk space for a cluster with the demo's data, with a margin: images, volumes, bucket. In bytes.
const freeSpace = 4 << 30

// demoCluster checks whether this machine can run the demo's cluster. The error has all problems at once. On Debian, it
// installs missing packages. It starts nothing.
func demoCluster(ctx context.Context, t *terminal) (clusterTarget, error) {
	cache, err := part.Find(ctx)
	if err != nil {
		return clusterTarget{}, err
	}
	n, err := node.New(node.DefaultName, cache, t)
	if err != nil {
		return clusterTarget{}, err
	}
	return clusterTarget{
		node: n, repository: cache.Repository, kubeconfig: n.Kubeconfig(), namespace: velero.Namespace,
		programs: map[string]string{
			"kubectl": filepath.Join(n.Bin(), "kubectl"), "velero": filepath.Join(n.Bin(), "velero"),
		},
	}, errors.Join(host.Prepare(ctx, t), checkSpace(filepath.Dir(node.Root)))
}

func checkSpace(folder string) error {
	var file syscall.Statfs_t
	if err := syscall.Statfs(folder, &file); err != nil {
		return fmt.Errorf("reading the free space in %s: %w", folder, err)
	}
	if free := file.Bavail * uint64(file.Bsize); free < freeSpace {
		return fmt.Errorf("%s has %d MiB free, but the demo needs %d MiB: free some "+
			"space", folder, free>>20, freeSpace>>20)
	}
	return nil
}

// existingCluster checks whether the user's own cluster responds, and finds kubectl and velero. It changes nothing.
func existingCluster(ctx context.Context, t *terminal, kubeconfig, namespace string) (clusterTarget, error) {
	if namespace == "" {
		namespace = velero.Namespace
	}
	if err := existing.Check(ctx, kubeconfig, t); err != nil {
		return clusterTarget{}, err
	}
	cache, err := part.Find(ctx)
	if err != nil {
		return clusterTarget{}, err
	}
	target := clusterTarget{
		repository: cache.Repository, kubeconfig: kubeconfig, namespace: namespace, programs: map[string]string{},
	}
	for _, name := range []string{"kubectl", "velero"} {
		if target.programs[name], err = exec.LookPath(name); err != nil {
			return target, fmt.Errorf("finding %s for the cluster of KUBECONFIG: copy it to a directory of PATH: %w",
				name, err)
		}
	}
	return target, nil
}

// prepare starts the demo's own cluster with Velero and this project, or checks the user's cluster.
func (d *demo) prepare(ctx context.Context) error {
	if d.node == nil {
		return d.checkInstalled(ctx)
	}
	images := filepath.Join(d.repository, filepath.FromSlash(install.Images))
	version, err := install.Version(images)
	if err != nil {
		return err
	}
	d.step("Starting a one-node Kubernetes %s, with an S3 gateway", part.KubernetesVersion)
	if err := d.node.Up(ctx, node.Options{}); err != nil {
		return err
	}
	d.step("Installing Velero %s, unmodified", part.VeleroVersion)
	if err := velero.Install(ctx, d.node, velero.Options{}, d); err != nil {
		return err
	}
	d.step("Installing this project: custom resources, agent on every node, volume policy, plugin")
	options := install.Options{Repository: d.repository, Images: images, Version: version}
	if err := install.Install(ctx, d.node, options, d); err != nil {
		return err
	}
	return d.restartChanged(ctx, images)
}

// restartChanged restarts workloads if their images were rebuilt with the same tag since an earlier demo.
func (d *demo) restartChanged(ctx context.Context, folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*.tar"))
	if err != nil {
		return fmt.Errorf("listing the images: %w", err)
	}
	sum := sha256.New()
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading the images: %w", err)
		}
		sum.Write(content)
	}
	now, record := sum.Sum(nil), filepath.Join(d.node.State(), "demo-images")
	before, err := os.ReadFile(record)
	switch {
	case errors.Is(err, fs.ErrNotExist), bytes.Equal(before, now):
	case err != nil:
		return fmt.Errorf("reading the checksum of the running images: %w", err)
	default:
		d.note("the images have changed: restarting their workloads")
		if err := d.restart(ctx); err != nil {
			return err
		}
	}
	return os.WriteFile(record, now, 0o600)
}

func (d *demo) restart(ctx context.Context) error {
	for _, workload := range []string{"deployment/velero", "daemonset/restic"} {
		if _, err := d.kubectl(ctx, "-n", d.namespace, "rollout", "restart", workload); err != nil {
			return err
		}
	}
	return d.rollOut(ctx)
}

// rollOut waits until Velero and the agents run.
func (d *demo) rollOut(ctx context.Context) error {
	for _, workload := range []string{"deployment/velero", "daemonset/restic"} {
		_, err := d.kubectl(ctx, "-n", d.namespace, "rollout", "status", workload, "--timeout=120s")
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) checkInstalled(ctx context.Context) error {
	d.step("Looking for Velero and this project in namespace %s", d.namespace)
	if err := d.rollOut(ctx); err != nil {
		return fmt.Errorf("namespace %s has no ready Velero with this project: install them as docs/install.md "+
			"describes, or set VELERO_NAMESPACE to their namespace: %w", d.namespace, err)
	}
	return nil
}

// bucketSize returns the size of the objects in the bucket by their first folder: backups, restic, …. In bytes.
func (d *demo) bucketSize() (map[string]int64, error) {
	sizes := map[string]int64{}
	if d.node == nil {
		return sizes, nil
	}
	plan, err := d.node.Plan()
	if err != nil {
		return nil, err
	}
	bucket := os.DirFS(plan.Store.Folder)
	return sizes, addSizes(bucket, sizes)
}
