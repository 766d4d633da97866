// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
)

// never is when the schedules of a test are due: on the next 29 February.
const never = "0 0 29 2 *"

// wanted is what is expected of a claim.
type wanted struct {
	// claim is NAMESPACE/NAME.
	claim string
	// reason is why it is not protected once the schedules have made their backups; empty: it is, by restic.
	reason coverage.Reason
	// skipped says that the plugin tells the reason in a PodVolumeBackup; else it makes none for the claim.
	skipped bool
}

// coverTable has each claim of the test, with the scenarios of velero-pvc-watcher and what it gave false alarms for.
func coverTable() []wanted {
	return []wanted{
		// Named in the pod's annotation, or not.
		{claim: "cover/data"},
		{claim: "cover/left", reason: "NotAsked"},
		{claim: "cover/app-scratch"},
		{claim: "cover/app-spare", reason: "NotAsked"},
		// Declared to need no backup.
		{claim: "cover/ignored", reason: "Ignored"},
		// Pods that share an owner which is no StatefulSet: each counts by itself.
		{claim: "cover/op-0"},
		{claim: "cover/op-1", reason: "NotAsked"},
		{claim: "cover/op-2"},
		// Not used, not mounted, not running.
		{claim: "cover/loose", reason: "Unmounted"},
		{claim: "cover/unmounted", reason: "NotMounted", skipped: true},
		{claim: "cover/pending", reason: "ClaimNotBound", skipped: true},
		{claim: "cover/over", reason: "PodNotRunning", skipped: true},
		{claim: "cover/over-quiet", reason: "NotAsked"},
		{claim: "cover/shared"},
		// Of kinds that restic cannot read.
		{claim: "cover/hostpath", reason: "HostPath", skipped: true},
		{claim: "cover/device", reason: "BlockVolume", skipped: true},
		// Left out by Velero's label on the pod; on the claim, where nobody names the volume.
		{claim: "cover/hidden", reason: "Excluded"},
		{claim: "cover/kept"},
		{claim: "cover-all/labeled", reason: "Excluded"},
		// All volumes by default, but what is excluded.
		{claim: "cover-all/data"},
		{claim: "cover-all/web-scratch"},
		{claim: "cover-all/out", reason: "Excluded"},
		{claim: "cover-all/over", reason: "PodNotRunning", skipped: true},
		// A schedule with a label selector.
		{claim: "cover-part/gold"},
		{claim: "cover-part/drawn"},
		{claim: "cover-part/plain", reason: "NoSchedule"},
		// A schedule with volume policies.
		{claim: "cover-policy/chosen"},
		{claim: "cover-policy/left", reason: "Policy", skipped: true},
		// Rules.
		{claim: "cover-rules/in"},
		{claim: "cover-rules/out", reason: "Excluded"},
		{claim: "cover-rules/other", reason: "NotAsked"},
		// No schedule, or one that is paused.
		{claim: "cover-paused/data", reason: "NoSchedule"},
		{claim: "cover-none/data", reason: "NoSchedule"},
		// Protected first; how it goes on is the end of the test.
		{claim: "cover-stale/data"},
		{claim: "cover-fail/data"},
	}
}

func coverNamespaces() []string {
	return []string{
		"cover", "cover-all", "cover-part", "cover-policy", "cover-rules", "cover-paused", "cover-none", "cover-stale",
		"cover-fail",
	}
}

// coverSchedules are the test's schedules that make backups.
func coverSchedules() []string {
	return []string{"cover-nightly", "cover-all", "cover-part", "cover-policy", "cover-stale", "cover-fail"}
}

// coverSchedule is the manifest of a schedule that does not fire during the test.
func coverSchedule(name, cron, spec, template string) string {
	return fmt.Sprintf(`
apiVersion: velero.io/v1
kind: Schedule
metadata: {name: %s, namespace: velero}
spec: {schedule: %q, %s template: {storageLocation: default, %s}}
`, name, cron, spec, template)
}

const coverPolicy = `
apiVersion: v1
kind: ConfigMap
metadata: {name: cover-policy, namespace: velero}
data:
  policies.yaml: |
    version: v1
    volumePolicies:
    - conditions: {storageClass: [cover-policy-left]}
      action: {type: skip}
    - conditions: {storageClass: [cover-policy]}
      action: {type: custom, parameters: {uploader: restic}}
    - conditions: {pvcLabels: {restic.velero.io/backup: "true"}}
      action: {type: custom}
`

const coverRules = `
apiVersion: v1
kind: ConfigMap
metadata:
  name: cover-rules
  namespace: velero
  labels: {velero.io/plugin-config: "", velero.io/restic: BackupItemAction}
data:
  rules.yaml: |
    rules:
    - {name: not-this-class, action: exclude, namespaces: [cover-rules], storageClasses: [cover-rules-out]}
    - {name: but-this, action: include, namespaces: [cover-rules], storageClasses: [cover-rules]}
`

// coverWorld is the namespaces of the test, by name.
type coverWorld map[string]*scene

// buildCoverWorld makes everything and waits until the pods run, or are what they shall be.
func buildCoverWorld(t *testing.T) coverWorld {
	t.Helper()
	w := coverWorld{}
	for _, name := range coverNamespaces() {
		w[name] = newCSIScene(t, name)
	}
	cover := w["cover"]
	cover.provideClass("cover-now", corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingImmediate)
	for _, class := range []string{"cover-policy-left", "cover-rules-out", "cover-rules-other"} {
		cover.provideClass(class, corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingWaitForFirstConsumer)
	}
	w.applySchedules(t)
	w.fillMain(t)
	w.fillOthers(t)
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		// All at a time: each scene waits for its own afterwards.
		kubectl(t, append([]string{"delete", "namespace", "--wait=false"}, coverNamespaces()...)...)
	})
	w.await(t)
	return w
}

func (w coverWorld) applySchedules(t *testing.T) {
	t.Helper()
	apply(t, coverPolicy, coverRules,
		coverSchedule("cover-nightly", never, "", "includedNamespaces: [cover, cover-rules]"),
		coverSchedule("cover-all", never, "", "includedNamespaces: [cover-all], defaultVolumesToFsBackup: true"),
		coverSchedule("cover-part", never, "", "includedNamespaces: [cover-part], labelSelector: {matchLabels: {tier: gold}}"),
		coverSchedule("cover-policy", never, "",
			"includedNamespaces: [cover-policy], resourcePolicy: {kind: configmap, name: cover-policy}"),
		coverSchedule("cover-paused", never, "paused: true,", "includedNamespaces: [cover-paused]"),
		coverSchedule("cover-stale", "@every 1h", "", "includedNamespaces: [cover-stale]"),
		coverSchedule("cover-fail", never, "", "includedNamespaces: [cover-fail]"))
	t.Cleanup(func() {
		if t.Failed() {
			for _, what := range []string{"schedules.velero.io", "backups.velero.io"} {
				out, err := tryKubectl(t, "-n", "velero", "get", what, "-o", "wide")
				t.Logf("%s\n%v", out, err)
			}
		}
		args := []string{"-n", "velero", "delete", "--ignore-not-found", "configmap/cover-policy", "configmap/cover-rules"}
		for _, name := range append(coverSchedules(), "cover-paused") {
			args = append(args, "schedules.velero.io/"+name)
		}
		kubectl(t, args...)
	})
}

// fillMain has the cases of opt-in by annotation.
func (w coverWorld) fillMain(t *testing.T) {
	t.Helper()
	s := w["cover"]
	ignored := s.claim("ignored")
	ignored.Annotations = map[string]string{contract.AnnotationClaimIgnored: "true"}
	for _, claim := range []string{
		"data", "left", "op-0", "op-1", "op-2", "unmounted", "pending", "over", "over-quiet", "shared", "hidden",
	} {
		apply(t, s.claim(claim))
	}
	apply(t, ignored, s.labeledClaim("kept"), s.claimOf("cover-now", "loose"))
	apply(t, s.pod("app", "data,scratch", claimed("data"), claimed("left"), claimed("ignored"),
		s.ephemeral("scratch"), s.ephemeral("spare")))
	apply(t, s.operatorPods(t)...)
	unmounted := s.pod("unmounted", "unmounted", claimed("unmounted"))
	unmounted.Spec.Containers[0].VolumeMounts = nil
	pending := s.pod("pending", "pending", claimed("pending"))
	pending.Spec.NodeSelector = map[string]string{"no-such-label": "true"}
	hidden := s.pod("hidden", "hidden", claimed("hidden"))
	hidden.Labels = map[string]string{contract.LabelExcludeFromBackup: "true"}
	apply(t, unmounted, pending, hidden, finished(s.pod("over", "over", claimed("over"))),
		finished(s.pod("over-quiet", "", claimed("over-quiet"))), finished(s.pod("sweeper", "", claimed("shared"))),
		s.pod("server", "shared", claimed("shared")), s.pod("keeper", "kept", claimed("kept")))
	w.fillStatic(t)
}

// labeledClaim is not in backups by itself.
func (s *scene) labeledClaim(name string) *corev1.PersistentVolumeClaim {
	claim := s.claim(name)
	claim.Labels = map[string]string{contract.LabelExcludeFromBackup: "true"}
	return claim
}

// operatorPods have one owner, which is no StatefulSet, and a claim each.
func (s *scene) operatorPods(t *testing.T) []any {
	t.Helper()
	kubectl(t, "-n", s.namespace, "create", "configmap", "operator")
	owner := get[corev1.ConfigMap](t, "-n", s.namespace, "configmap", "operator")
	var pods []any
	for i, annotation := range []string{"op-0", "", "op-2"} {
		name := fmt.Sprint("op-", i)
		pod := s.pod(name, annotation, claimed(name))
		pod.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID, Controller: ptr.To(true),
		}}
		pods = append(pods, pod)
	}
	return pods
}

// finished is the pod as of a Job that has done its work.
func finished(pod *corev1.Pod) *corev1.Pod {
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.Containers[0].Command = []string{"true"}
	return pod
}

// fillStatic has volumes that somebody has made by hand: a hostPath, and a device.
func (w coverWorld) fillStatic(t *testing.T) {
	t.Helper()
	s := w["cover"]
	static := &scene{t: t, namespace: s.namespace, class: "cover-static"}
	host := localVolume(t, suite.node, "cover-hostpath", static.class)
	host.Spec.HostPath, host.Spec.Local = &corev1.HostPathVolumeSource{Path: host.Spec.Local.Path}, nil
	host.Spec.ClaimRef = &corev1.ObjectReference{Namespace: s.namespace, Name: "hostpath"}
	device := localVolume(t, suite.node, "cover-device", static.class)
	device.Spec.VolumeMode, device.Spec.Local.Path = ptr.To(corev1.PersistentVolumeBlock), loopDevice(t, "cover-device")
	raw := static.claim("device")
	raw.Spec.VolumeMode = ptr.To(corev1.PersistentVolumeBlock)
	db := s.pod("db", "device", claimed("device"))
	main := &db.Spec.Containers[0]
	main.VolumeMounts, main.VolumeDevices = nil, []corev1.VolumeDevice{{Name: "device", DevicePath: "/dev/device"}}
	apply(t, localClass(static.class), host, device, static.claim("hostpath"), raw, db,
		s.pod("host", "hostpath", claimed("hostpath")))
	t.Cleanup(func() {
		kubectl(t, "delete", "persistentvolume", "-l", "e2e="+static.class, "--timeout=30s", "--wait=false")
		kubectl(t, "delete", "storageclass", static.class, "--ignore-not-found")
	})
}

// fillOthers has the namespaces that differ in their schedule.
func (w coverWorld) fillOthers(t *testing.T) {
	t.Helper()
	s := w["cover-all"]
	web := s.pod("web", "", claimed("data"), claimed("out"), claimed("labeled"), s.ephemeral("scratch"))
	web.Annotations = map[string]string{contract.AnnotationVolumesToExclude: "out"}
	apply(t, s.claim("data"), s.claim("out"), s.labeledClaim("labeled"), s.claim("over"), web, finished(s.pod("over", "", claimed("over"))))

	s = w["cover-part"]
	gold, drawn := s.pod("gold", "gold", claimed("gold")), s.claim("drawn")
	gold.Labels, drawn.Labels = map[string]string{"tier": "gold"}, map[string]string{"tier": "gold"}
	apply(t, s.claim("gold"), drawn, s.claim("plain"), gold, s.pod("drawn", "drawn", claimed("drawn")),
		s.pod("plain", "plain", claimed("plain")))

	s = w["cover-policy"]
	apply(t, s.claim("chosen"), s.claimOf("cover-policy-left", "left"),
		s.pod("web", "left", claimed("chosen"), claimed("left")))

	s = w["cover-rules"]
	apply(t, s.claim("in"), s.claimOf("cover-rules-out", "out"), s.claimOf("cover-rules-other", "other"),
		s.pod("web", "", claimed("in"), claimed("out"), claimed("other")))

	for _, name := range []string{"cover-paused", "cover-none", "cover-stale", "cover-fail"} {
		apply(t, w[name].claim("data"), w[name].pod("web", "data", claimed("data")))
	}
}

func (w coverWorld) await(t *testing.T) {
	t.Helper()
	for namespace, pods := range map[string]string{
		"cover": "app op-0 op-1 op-2 unmounted hidden server keeper db host", "cover-all": "web", "cover-part": "gold drawn plain",
		"cover-policy": "web", "cover-rules": "web", "cover-paused": "web", "cover-none": "web", "cover-stale": "web",
		"cover-fail": "web",
	} {
		for pod := range strings.FieldsSeq(pods) {
			w[namespace].waitReady(pod)
		}
	}
	for _, pod := range []string{"over", "over-quiet", "sweeper"} {
		w["cover"].waitPhase(pod, corev1.PodSucceeded)
	}
	w["cover-all"].waitPhase("over", corev1.PodSucceeded)
	w["cover"].shell("app", "head -c 100000 /dev/zero > /data/file")
}
