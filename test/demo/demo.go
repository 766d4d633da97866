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

// Deadlines of the steps. On two cores each of them takes a fraction.
const (
	podPatience    = 2 * time.Minute
	deletePatience = 2 * time.Minute
	backupPatience = 10 * time.Minute
)

// demo is one run.
type demo struct {
	*terminal
	place
	// name is that of the backup and of the restore.
	name string
	// private is a folder for the demo's own files.
	private string
	// content and entries count what was put into the volumes.
	content int64
	entries int
	// took are the times of the steps that the end tells of.
	took map[string]time.Duration
}

func newDemo(t *terminal, target place, private string) *demo {
	return &demo{
		terminal: t, place: target, private: private, took: map[string]time.Duration{},
		name: "demo-" + time.Now().Format("0102-150405"),
	}
}

func (d *demo) run(ctx context.Context) error {
	if err := d.prepare(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		d.clean, d.createPod, d.backUp, d.lose, d.restore, d.proof,
	} {
		if err := step(ctx); err != nil {
			d.diagnose(ctx)
			return err
		}
	}
	return d.summary()
}

// clean removes what an earlier demo left.
func (d *demo) clean(ctx context.Context) error {
	labels, err := d.kubectl(ctx, "get", "namespace", "foo", "--ignore-not-found",
		"-o", "jsonpath={.metadata.name} {.metadata.labels."+label+"}")
	switch {
	case err != nil:
		return err
	case labels != "" && labels != "foo true":
		return errors.New("there is a namespace foo that is not the demo's (it lacks the label " + label +
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

// deletion removes all of the sample. Pods and claims go first: Kubernetes looks only after 15 seconds again at a
// namespace that still has objects with finalizers, as used claims have.
func deletion() [][]string {
	return [][]string{
		{"kubectl", "-n", "foo", "delete", "pods,persistentvolumeclaims", "--all"},
		{"kubectl", "delete", "namespace", "foo"},
	}
}

func (d *demo) deleteNamespace(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, deletePatience)
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
	d.step("Filling both volumes: 10,000 small files, a large, a sparse and an empty one, links, odd names, ACLs, …")
	return d.fill(ctx)
}

func (d *demo) waitForPod(ctx context.Context) error {
	_, err := d.kubectl(ctx, "-n", "foo", "wait", "pod/sample", "--for=condition=Ready",
		"--timeout="+podPatience.String())
	if err != nil && d.node == nil {
		return fmt.Errorf("%w (its claim needs a default StorageClass that provisions volumes)", err)
	}
	return err
}

func (d *demo) backUp(ctx context.Context) error {
	d.step("Backing up: what a user types")
	if err := d.show(ctx, whole{}, "kubectl", "-n", "foo", "annotate", "pod/sample",
		"backup.velero.io/backup-volumes=pvc-volume,emptydir-volume"); err != nil {
		return err
	}
	create := []string{"velero", "backup", "create", d.name}
	if d.node == nil {
		// Somebody's own cluster is not backed up whole for a demo.
		create = append(create, "--include-namespaces", "foo")
	}
	start := time.Now()
	if err := d.show(ctx, whole{}, create...); err != nil {
		return err
	}
	if err := d.completed(ctx, "backup.velero.io/"+d.name); err != nil {
		return err
	}
	d.took["backup"] = time.Since(start)
	if err := d.show(ctx, sections{"Phase:", "Errors:", "Warnings:", "Resource policies:", "Backup Item Operations:"},
		"velero", "backup", "describe", d.name, "--details"); err != nil {
		return err
	}
	return d.show(ctx, whole{}, "kubectl", "-n", d.namespace, "get", "podvolumebackups",
		"-l", "velero.io/backup-name="+d.name)
}

// completed waits until a backup or restore has ended, and fails unless it is well.
func (d *demo) completed(ctx context.Context, object string) error {
	d.line("")
	phase, err := d.await(ctx, backupPatience, question{
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

func (d *demo) lose(ctx context.Context) error {
	d.step("Losing everything: the namespace, its pod, its claim, its data")
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, deletePatience)
	defer cancel()
	for _, command := range deletion() {
		if err := d.show(ctx, whole{}, command...); err != nil {
			return err
		}
	}
	d.took["deletion"] = time.Since(start)
	return nil
}

func (d *demo) restore(ctx context.Context) error {
	d.step("Restoring: what a user types")
	start := time.Now()
	create := []string{"velero", "restore", "create", d.name, "--from-backup", d.name, "--include-namespaces", "foo"}
	if err := d.show(ctx, whole{}, create...); err != nil {
		return err
	}
	if err := d.completed(ctx, "restore.velero.io/"+d.name); err != nil {
		return err
	}
	if err := d.waitForPod(ctx); err != nil {
		return err
	}
	d.note("pod sample is ready")
	d.took["restore"] = time.Since(start)
	if err := d.show(ctx, sections{"Phase:", "Errors:", "Warnings:", "Restore Item Operations:"},
		"velero", "restore", "describe", d.name, "--details"); err != nil {
		return err
	}
	// Kubernetes puts that ConfigMap into every namespace, and Velero finds it there when it restores its own copy.
	d.note("a warning about ConfigMap kube-root-ca.crt is Velero's own, of every restore into a namespace that is gone")
	return d.show(ctx, whole{}, "kubectl", "-n", d.namespace, "get", "podvolumerestores",
		"-l", "velero.io/restore-name="+d.name)
}

func (d *demo) proof(ctx context.Context) error {
	d.step("Comparing type, size, content, mode, owner, time, links, attributes and ACLs of every entry with " +
		"what was there")
	return d.compare(ctx)
}

// summary says how it went, and what to look at next.
func (d *demo) summary() error {
	sizes, err := d.bucketSize()
	if err != nil {
		return err
	}
	seconds := func(step string) float64 { return d.took[step].Seconds() }
	d.line("\nEverything came back as it was: no difference in %d entries with %s of content.\n",
		d.entries, size(d.content))
	d.line("  backup %.1fs, deletion %.1fs, restore %.1fs; the whole demo %.1fs",
		seconds("backup"), seconds("deletion"), seconds("restore"), d.elapsed().Seconds())
	if d.node != nil {
		d.line("  the bucket holds %s of restic's repositories and %s of Velero's own", size(sizes["restic"]),
			size(sizes["backups"]+sizes["restores"]))
	}
	d.line("\nThe cluster keeps running. To look around:\n")
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
		"kubectl api-resources >/dev/null    # once, so that kubectl knows the kinds of this cluster",
		"velero restore logs " + d.name + " | grep velero-plugin-for-restic",
		"kubectl -n " + d.namespace + " get resticrepositories,podvolumebackups,podvolumerestores -o wide",
		"kubectl -n " + d.namespace + " get podvolumebackups -l velero.io/backup-name=" + d.name + " -o yaml",
		"kubectl -n " + d.namespace + " logs daemonset/restic",
		"velero backup delete " + d.name + " --confirm    # its snapshots leave the repository, too",
	}
	if d.node != nil {
		lines = append(lines, "make demo         # once more, on the same cluster",
			"make demo-down    # remove the cluster")
	}
	return lines
}
