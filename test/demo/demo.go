// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// Timeouts of the steps. On two cores, each step takes a fraction of its timeout.
const (
	podTimeout    = 2 * time.Minute
	deleteTimeout = 2 * time.Minute
	backupTimeout = 10 * time.Minute
)

// demo is one run of the demo.
type demo struct {
	*terminal
	clusterTarget
	// name is the name of the backup and of the restore.
	name string
	// private is a directory for the demo's own files.
	private string
	// content is the number of bytes, and entries the number of entries, that the demo created in the volumes.
	content int64
	entries int
	// durations has the durations of the steps for the summary.
	durations map[string]time.Duration
}

func newDemo(t *terminal, target clusterTarget, private string) *demo {
	return &demo{
		terminal: t, clusterTarget: target, private: private, durations: map[string]time.Duration{},
		name: "demo-" + time.Now().Format("0102-150405"),
	}
}

func (d *demo) run(ctx context.Context) error {
	if err := d.prepare(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		d.clean, d.createPod, d.backUp, d.deleteAll, d.restore, d.verify,
	} {
		if err := step(ctx); err != nil {
			d.diagnose(ctx)
			return err
		}
	}
	return d.summary()
}

// clean removes the objects and volumes of an earlier demo.
func (d *demo) clean(ctx context.Context) error {
	labels, err := d.kubectl(ctx, "get", "namespace", "foo", "--ignore-not-found",
		"-o", "jsonpath={.metadata.name} {.metadata.labels."+label+"}")
	switch {
	case err != nil:
		return err
	case labels != "" && labels != "foo true":
		return errors.New("namespace foo exists and does not belong to the demo (it does not have the label " + label +
			"): delete it, or use another cluster")
	case labels != "":
		d.step("Removing namespace foo of an earlier demo")
		if err := d.deleteNamespace(ctx); err != nil {
			return err
		}
	}
	if d.node == nil {
		return nil
	}
	if _, err := d.kubectl(ctx, "delete", "persistentvolume", "-l", label, "--timeout=60s"); err != nil {
		return err
	}
	return os.RemoveAll(d.volumesFolder())
}

// deletion returns the commands that delete the sample. They delete pods and claims first: if a namespace still has
// objects with finalizers, such as claims in use, Kubernetes checks it again only after 15 seconds.
func deletion() [][]string {
	return [][]string{
		{"kubectl", "-n", "foo", "delete", "pods,persistentvolumeclaims", "--all"},
		{"kubectl", "delete", "namespace", "foo"},
	}
}

func (d *demo) deleteNamespace(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, deleteTimeout)
	defer cancel()
	for _, command := range deletion() {
		if _, err := d.kubectl(ctx, command[1:]...); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) createPod(ctx context.Context) error {
	d.step("Creating namespace foo with pod sample: a claim and an emptyDir")
	manifests := d.sample()
	if d.node != nil {
		volumes, err := d.localVolumes()
		if err != nil {
			return err
		}
		manifests = append(append(volumes, "---\n"...), manifests...)
	}
	if err := d.buildFixture(ctx); err != nil {
		return err
	}
	apply := call{
		args:  []string{"kubectl", "apply", "-f", "-"},
		stdin: bytes.NewReader(manifests), stdout: &bytes.Buffer{},
	}
	if err := d.execute(ctx, apply); err != nil {
		return err
	}
	if err := d.waitForPod(ctx); err != nil {
		return err
	}
	d.step("Filling both volumes: 10,000 small files, a large, a sparse and an empty file, links, unusual names, " +
		"ACLs, …")
	return d.fill(ctx)
}

func (d *demo) waitForPod(ctx context.Context) error {
	_, err := d.kubectl(ctx, "-n", "foo", "wait", "pod/sample", "--for=condition=Ready",
		"--timeout="+podTimeout.String())
	if err != nil && d.node == nil {
		return fmt.Errorf("%w (its claim needs a default StorageClass that provisions volumes)", err)
	}
	return err
}

func (d *demo) backUp(ctx context.Context) error {
	d.step("Backing up with the commands of a user")
	if err := d.show(ctx, allLines{}, "kubectl", "-n", "foo", "annotate", "pod/sample",
		"backup.velero.io/backup-volumes=pvc-volume,emptydir-volume"); err != nil {
		return err
	}
	create := []string{"velero", "backup", "create", d.name}
	if d.node == nil {
		// Do not back up a user's whole cluster for a demo.
		create = append(create, "--include-namespaces", "foo")
	}
	start := time.Now()
	if err := d.show(ctx, allLines{}, create...); err != nil {
		return err
	}
	if err := d.waitForCompleted(ctx, "backup.velero.io/"+d.name); err != nil {
		return err
	}
	d.durations["backup"] = time.Since(start)
	if err := d.show(ctx, sections{"Phase:", "Errors:", "Warnings:", "Resource policies:", "Backup Item Operations:"},
		"velero", "backup", "describe", d.name, "--details"); err != nil {
		return err
	}
	return d.show(ctx, allLines{}, "kubectl", "-n", d.namespace, "get", "podvolumebackups",
		"-l", "velero.io/backup-name="+d.name)
}

// waitForCompleted waits until a backup or restore has ended. It fails if the phase is not Completed.
func (d *demo) waitForCompleted(ctx context.Context, object string) error {
	d.line("")
	phase, err := d.waitForField(ctx, backupTimeout, fieldQuery{
		namespace: d.namespace, object: object, field: ".status.phase",
		final: func(phase string) bool {
			return slices.Contains([]string{"Completed", "PartiallyFailed", "Failed", "FailedValidation"}, phase)
		},
	})
	if err == nil && phase != "Completed" {
		err = fmt.Errorf("%s is %s, not Completed", object, phase)
	}
	return err
}

func (d *demo) deleteAll(ctx context.Context) error {
	d.step("Deleting everything: the namespace, its pod, its claim, its data")
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, deleteTimeout)
	defer cancel()
	for _, command := range deletion() {
		if err := d.show(ctx, allLines{}, command...); err != nil {
			return err
		}
	}
	d.durations["deletion"] = time.Since(start)
	return nil
}

func (d *demo) restore(ctx context.Context) error {
	d.step("Restoring with the commands of a user")
	start := time.Now()
	create := []string{"velero", "restore", "create", d.name, "--from-backup", d.name, "--include-namespaces", "foo"}
	if err := d.show(ctx, allLines{}, create...); err != nil {
		return err
	}
	if err := d.waitForCompleted(ctx, "restore.velero.io/"+d.name); err != nil {
		return err
	}
	if err := d.waitForPod(ctx); err != nil {
		return err
	}
	d.note("pod sample is ready")
	d.durations["restore"] = time.Since(start)
	if err := d.show(ctx, sections{"Phase:", "Errors:", "Warnings:", "Restore Item Operations:"},
		"velero", "restore", "describe", d.name, "--details"); err != nil {
		return err
	}
	// Kubernetes creates that ConfigMap in every namespace, and Velero finds it when it restores the copy in the
	// backup.
	d.note("Velero warns about ConfigMap kube-root-ca.crt in every restore into a deleted namespace")
	return d.show(ctx, allLines{}, "kubectl", "-n", d.namespace, "get", "podvolumerestores",
		"-l", "velero.io/restore-name="+d.name)
}

func (d *demo) verify(ctx context.Context) error {
	d.step("Comparing type, size, content, mode, owner, time, links, attributes and ACLs of every entry with " +
		"the original")
	return d.compare(ctx)
}

// summary prints the result, and commands for the next steps.
func (d *demo) summary() error {
	sizes, err := d.bucketSize()
	if err != nil {
		return err
	}
	seconds := func(step string) float64 { return d.durations[step].Seconds() }
	d.line("\nThe restored volumes are identical: no difference in %d entries with %s of content.\n",
		d.entries, size(d.content))
	d.line("  backup %.1fs, deletion %.1fs, restore %.1fs; the whole demo %.1fs",
		seconds("backup"), seconds("deletion"), seconds("restore"), d.elapsed().Seconds())
	if d.node != nil {
		d.line("  the bucket has %s of restic repositories and %s of Velero's own data", size(sizes["restic"]),
			size(sizes["backups"]+sizes["restores"]))
	}
	d.line("\nThe cluster keeps running. To explore it:\n")
	for _, line := range d.next() {
		d.line("  %s", line)
	}
	return nil
}

func (d *demo) next() []string {
	settings := "export KUBECONFIG=" + d.kubeconfig
	if d.node != nil {
		settings += " PATH=" + d.node.Bin() + ":$PATH"
	}
	lines := []string{
		settings,
		"kubectl api-resources >/dev/null    # once, to refresh kubectl's list of API resources",
		"velero restore logs " + d.name + " | grep velero-plugin-for-restic",
		"kubectl -n " + d.namespace + " get resticrepositories,podvolumebackups,podvolumerestores -o wide",
		"kubectl -n " + d.namespace + " get podvolumebackups -l velero.io/backup-name=" + d.name + " -o yaml",
		"kubectl -n " + d.namespace + " logs daemonset/restic",
		"velero backup delete " + d.name + " --confirm    # also removes its snapshots from the repository",
	}
	if d.node != nil {
		lines = append(lines, "make demo         # run it again on the same cluster",
			"make demo-down    # remove the cluster")
	}
	return lines
}
