// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"errors"
	"strings"
	"testing"
	"time"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
	"github.com/velero-restic/velero-plugin-for-restic/test/fixture"
)

// includeNamespaceRule includes namespace ruled, except the volumes of its nightly Jobs.
const includeNamespaceRule = `
rules:
- name: nightly Jobs
  action: exclude
  owners: [{kind: Job, names: ["nightly-*"]}]
- name: all of ruled
  action: include
  namespaces: ["rul*"]
`

// excludeVolumesRule excludes volumes from a backup of all volumes.
const excludeVolumesRule = `
rules:
- name: all but one
  action: exclude
  namespaces: [ruled]
  volumes: [data, cache]
`

// applyRules gives the cluster these rules, for all its backups.
func applyRules(t *testing.T, rules string) {
	t.Helper()
	apply(t, &corev1.ConfigMap{
		TypeMeta: typeMeta("v1", "ConfigMap"),
		ObjectMeta: metav1.ObjectMeta{Namespace: velero.Namespace, Name: "ruled", Labels: map[string]string{
			"velero.io/plugin-config": "", "velero.io/restic": "BackupItemAction",
		}},
		Data: map[string]string{"rules.yaml": rules},
	})
}

// legacyConfiguration is the example of velero-volume-controller (v2.0, examples/deployment/configmap.yaml).
const legacyConfiguration = `
apiVersion: v1
kind: ConfigMap
metadata:
  name: velero-volume-controller
data:
  config.yml: |
    clusterServerCfg:
      masterURL:
      kubeConfig:
      leaseLockNamespace: velero
      leaseLockName: velero-volume-controller
    veleroVolumeCfg:
      includeNamespaces: test
      excludeNamespaces:
      includeVolumeTypes: persistentVolumeClaim
      excludeVolumeTypes:
      excludeJobs: "*"
`

// TestRules backs up namespaces without an annotation, by rules in the one ConfigMap for all backups of the cluster.
func TestRules(t *testing.T) {
	reserveCluster(t)
	t.Cleanup(func() {
		kubectl(t, "-n", velero.Namespace, "delete", "configmap", "ruled", "velero-volume-controller",
			"--ignore-not-found")
	})
	t.Run("rules that cannot be read fail the backup, which takes all annotated volumes", checkBrokenRules)
	t.Run("one rule includes a namespace without an annotation", checkOneRule)
	t.Run("the configuration of velero-volume-controller works as rules", checkLegacyConfiguration)
	t.Run("a backup of all volumes omits what a rule excludes", checkExcludingRule)
}

// createFilledPod creates a pod without an annotation, fills its two volumes, and returns what is in them.
func (ns *testNamespace) createFilledPod() (before map[string][]fixture.Entry) {
	ns.t.Helper()
	apply(ns.t, ns.claim("data"), ns.pod("web", "", claimVolume("data"), emptyDir("cache")))
	ns.waitReady("web")
	before = map[string][]fixture.Entry{}
	for _, path := range []string{"/data", "/cache"} {
		ns.fillVolume("web", path, "--small")
		before[path] = ns.recordVolume("web", path)
	}
	return before
}

// runNightlyJob leaves the completed pod of a Job, with a claim that no other pod mounts.
func (ns *testNamespace) runNightlyJob() {
	ns.t.Helper()
	pod := ns.pod("", "", claimVolume("report"), emptyDir("work"))
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.Containers[0].Command = []string{"true"}
	apply(ns.t, ns.claim("report"), &batchv1.Job{
		TypeMeta:   typeMeta("batch/v1", "Job"),
		ObjectMeta: metav1.ObjectMeta{Namespace: ns.name, Name: "nightly-1"},
		Spec:       batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: pod.Spec}},
	})
	kubectl(ns.t, "-n", ns.name, "wait", "job/nightly-1", "--for=condition=Complete", "--timeout=120s")
}

func checkOneRule(t *testing.T) {
	ns := newNamespace(t, "ruled", 3)
	before := ns.createFilledPod()
	ns.runNightlyJob()
	applyRules(t, includeNamespaceRule)
	version := func() string {
		return kubectl(t, "-n", "ruled", "get", "pod", "web", "-o", "jsonpath={.metadata.resourceVersion}")
	}
	untouched := version()
	wantCompleted(t, backUp(t, "ruled", "--include-namespaces=ruled"))
	for volume, object := range wantBackedUp(t, "ruled", "web/data", "web/cache") {
		if got := object.Annotations[contract.AnnotationRule]; got != "all of ruled" {
			t.Errorf("PodVolumeBackup of %s names rule %q, want all of ruled", volume, got)
		}
	}
	if now := version(); now != untouched {
		t.Errorf("the pod has resource version %s, want it unchanged at %s", now, untouched)
	}
	ns.checkRestoredVolumes("ruled", before)
}

func checkLegacyConfiguration(t *testing.T) {
	kubectl(t, "-n", velero.Namespace, "delete", "configmap", "ruled", "--ignore-not-found")
	ns := newNamespace(t, "test", 3)
	before := ns.createFilledPod()
	ns.runNightlyJob()
	apply(t, strings.Replace(legacyConfiguration, "metadata:", "metadata:\n  namespace: velero", 1))
	kubectl(t, "-n", velero.Namespace, "label", "configmap", "velero-volume-controller",
		"velero.io/plugin-config=", "velero.io/restic=BackupItemAction")
	wantCompleted(t, backUp(t, "ruled-original", "--include-namespaces=test"))
	wantBackedUp(t, "ruled-original", "web/data") // it only backed up volumes of claims
	delete(before, "/cache")
	ns.checkRestoredVolumes("ruled-original", before)
	kubectl(t, "-n", velero.Namespace, "delete", "configmap", "velero-volume-controller")
}

// checkRestoredVolumes restores the namespace and compares its volumes.
func (ns *testNamespace) checkRestoredVolumes(backup string, before map[string][]fixture.Entry) {
	ns.t.Helper()
	ns.delete()
	wantRestored(ns.t, restore(ns.t, backup, backup))
	ns.waitReady("web")
	for path, entries := range before {
		ns.waitMarkerRemoved("web", path)
		wantSameFiles(ns.t, path, entries, ns.recordVolume("web", path))
	}
}

func checkBrokenRules(t *testing.T) {
	ns := newNamespace(t, "ruled", 0)
	apply(t, ns.pod("annotated", "cache", emptyDir("cache")), ns.pod("bare", "", emptyDir("cache")))
	applyRules(t, strings.Replace(includeNamespaceRule, "action: include", "action: take", 1))
	ns.waitReady("annotated")
	ns.waitReady("bare")
	backup := backUp(t, "ruled-broken", "--include-namespaces=ruled")
	if backup.Status.Phase != velerov1.BackupPhasePartiallyFailed || backup.Status.Errors != 1 {
		t.Errorf("the backup is %s with %d errors, want PartiallyFailed with 1", backup.Status.Phase, backup.Status.Errors)
	}
	wantBackedUp(t, "ruled-broken", "annotated/cache")
	parts := []string{"ConfigMap velero/ruled", "rules.yaml", "rules[1] (all of ruled): action", "include or exclude"}
	described := strings.Join(strings.Fields(veleroCLI(t, "backup", "describe", "ruled-broken")), " ")
	wantContains(t, "velero backup describe", described,
		append(parts, "pod ruled/bare", "kubectl -n velero edit configmap ruled")...)
	eventually(t, time.Minute, "Event about the rules", func() error {
		events, err := tryKubectl(t, "-n", velero.Namespace, "get", "events", "--field-selector",
			"involvedObject.kind=ConfigMap,involvedObject.name=ruled,reason=BadConfiguration", "-o", "jsonpath={..message}")
		if err != nil || !strings.Contains(events, "rules[1] (all of ruled): action") {
			return errors.Join(err, errors.New("the Events are: "+events))
		}
		return nil
	})
}

// checkExcludingRule excludes volumes that --default-volumes-to-fs-backup selects. Velero has no node-agent here, and
// would leave the pod out: the label keeps it from the claim, and the base policy keeps it from the emptyDir.
func checkExcludingRule(t *testing.T) {
	ns := newNamespace(t, "ruled", 2)
	apply(t, ns.claim("data"), ns.pod("web", "", claimVolume("data"), emptyDir("cache"), emptyDir("kept")))
	applyRules(t, excludeVolumesRule)
	ns.waitReady("web")
	ns.shell("web", "for v in data cache kept; do echo content of $v > /$v/file; done")
	wantCompleted(t, backUp(t, "ruled-default", "--include-namespaces=ruled", "--default-volumes-to-fs-backup"))
	wantBackedUp(t, "ruled-default", "web/kept")
}
