// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package velero installs the unmodified, pinned Velero into a test cluster, with its AWS plugin and an S3 bucket.
package velero

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/node"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
)

// Namespace is the namespace of Velero in a test cluster.
const Namespace = "velero"

// Images with the default names of `velero install`. They are loaded first, so the kubelet never pulls them.
const (
	ServerImage = "velero/velero:" + part.VeleroVersion
	PluginImage = "velero/velero-plugin-for-aws:" + part.AWSPluginVersion
)

// serverArguments returns the arguments of the Velero server in addition to its defaults.
func serverArguments(options Options) []string {
	arguments := []string{
		// Backups end soon after their last volume. The default is 10 s; the installation guide recommends this value.
		"--item-operation-sync-frequency=1s",
		// Velero soon deletes expired backups. The default is once an hour.
		"--garbage-collection-frequency=5s",
		// Backups of different namespaces run side by side. By default a backup waits for all others, and Velero may
		// look at it only after a minute.
		"--concurrent-backups=4",
	}
	if options.BackupSyncPeriod > 0 {
		arguments = append(arguments, "--backup-sync-period="+options.BackupSyncPeriod.String())
	}
	return arguments
}

// timeout limits an installation, which takes ten seconds on two cores.
const timeout = 10 * time.Minute

// Options are the options of an installation.
type Options struct {
	// NodeAgent also installs Velero's own DaemonSet for file-system backups.
	NodeAgent bool
	// Bucket is another existing bucket of the same gateway; empty means the cluster's own. Velero rejects a location
	// if its bucket has directories of others, so clusters that must not see each other's backups need one bucket each.
	Bucket string
	// BackupSyncPeriod is how often Velero looks for backups of other clusters in the bucket; 0 means Velero's default,
	// once a minute.
	BackupSyncPeriod time.Duration
}

// Install loads Velero's images, applies the output of `velero install`, and waits until the server runs and its bucket
// is available. A second call changes only what differs. It prints the steps and their times to out.
func Install(ctx context.Context, n *node.Node, options Options, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	start := time.Now()
	say := func(text string) { fmt.Fprintf(out, "%6.1fs  %s\n", time.Since(start).Seconds(), text) }
	plan, err := n.Plan()
	if err != nil {
		return err
	}
	images, err := Images(n.Cache())
	if err != nil {
		return err
	}
	if err := n.Load(ctx, images...); err != nil {
		return err
	}
	if err := applyDefinitions(ctx, n); err != nil {
		return err
	}
	manifests, err := n.Velero(ctx, installArguments(n, plan.Store, options)...)
	if err != nil {
		return fmt.Errorf("rendering the installation: %w", err)
	}
	adjusted, err := addServerArguments([]byte(manifests), serverArguments(options)...)
	if err != nil {
		return err
	}
	if err := n.Apply(ctx, adjusted); err != nil {
		return fmt.Errorf("applying the installation: %w", err)
	}
	say("Velero " + part.VeleroVersion + " applied")
	if err := waitReady(ctx, n, options); err != nil {
		return err
	}
	say("Velero is ready, its bucket is available")
	return nil
}

// applyDefinitions runs first, because the API server rejects objects of a kind until it serves the kind.
func applyDefinitions(ctx context.Context, n *node.Node) error {
	definitions, err := n.Velero(ctx, "install", "--crds-only", "--dry-run", "-o", "yaml")
	if err != nil {
		return fmt.Errorf("rendering Velero's definitions: %w", err)
	}
	if err := n.Apply(ctx, []byte(definitions)); err != nil {
		return fmt.Errorf("applying Velero's definitions: %w", err)
	}
	_, err = n.Kubectl(ctx, "wait", "crd", "-l", "component=velero", "--for=condition=Established", "--timeout=60s")
	if err != nil {
		return fmt.Errorf("waiting for Velero's definitions: %w", err)
	}
	return nil
}

func installArguments(n *node.Node, store node.Store, options Options) []string {
	args := []string{
		"install", "--dry-run", "-o", "yaml", "--namespace", Namespace,
		"--image", ServerImage, "--plugins", PluginImage,
		"--provider", "aws", "--bucket", cmp.Or(options.Bucket, store.Bucket), "--secret-file", store.Credentials,
		"--backup-location-config",
		fmt.Sprintf("region=%s,s3ForcePathStyle=true,s3Url=%s", store.Region, store.Endpoint),
		"--use-volume-snapshots=false",
	}
	if options.NodeAgent {
		args = append(args, "--use-node-agent", "--kubelet-root-dir", n.KubeletRoot())
	}
	return args
}

// addServerArguments adds arguments to the server's container in the output of `velero install --dry-run`.
func addServerArguments(manifests []byte, arguments ...string) ([]byte, error) {
	var list map[string]any
	if err := yaml.Unmarshal(manifests, &list); err != nil {
		return nil, fmt.Errorf("reading the installation: %w", err)
	}
	items, _ := list["items"].([]any)
	for _, item := range items {
		object, _ := item.(map[string]any)
		if object["kind"] != "Deployment" {
			continue
		}
		container, err := firstContainer(object)
		if err != nil {
			return nil, err
		}
		args, _ := container["args"].([]any)
		for _, argument := range arguments {
			if !slices.Contains(args, any(argument)) {
				args = append(args, argument)
			}
		}
		container["args"] = args
		return yaml.Marshal(list)
	}
	return nil, errors.New("reading the installation: it has no Deployment")
}

func firstContainer(deployment map[string]any) (map[string]any, error) {
	at := any(deployment)
	for _, field := range []string{"spec", "template", "spec", "containers"} {
		object, _ := at.(map[string]any)
		at = object[field]
	}
	containers, _ := at.([]any)
	if len(containers) == 0 {
		return nil, errors.New("reading the installation: the Deployment has no container")
	}
	container, _ := containers[0].(map[string]any)
	return container, nil
}

func waitReady(ctx context.Context, n *node.Node, options Options) error {
	waits := [][]string{
		{"rollout", "status", "deployment/velero", "--timeout=180s"},
		{"wait", "backupstoragelocation/default", "--for=jsonpath={.status.phase}=Available", "--timeout=120s"},
	}
	if options.NodeAgent {
		waits = append(waits, []string{"rollout", "status", "daemonset/node-agent", "--timeout=120s"})
	}
	for _, wait := range waits {
		if _, err := n.Kubectl(ctx, append([]string{"-n", Namespace}, wait...)...); err != nil {
			return fmt.Errorf("waiting for Velero: %w", err)
		}
	}
	return nil
}
