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

// neverDue is the time of schedules that must not fire during a test: the next 29 February.
const neverDue = "0 0 29 2 *"

// expectedClaim is what is expected of a claim.
type expectedClaim struct {
	// claim is NAMESPACE/NAME.
	claim string
	// reason is why the claim is not protected after the backups of the schedules; empty if restic protects it.
	reason coverage.Reason
	// skipped is set if the plugin creates a PodVolumeBackup with the reason. Otherwise it creates none for the claim.
	skipped bool
}

// expectedClaims returns each claim of the test: the scenarios of velero-pvc-watcher, and those of its false alarms.
func expectedClaims() []expectedClaim {
	return []expectedClaim{
		// Named in the annotation of the pod, or not.
		{claim: "cover/data"},
		{claim: "cover/left", reason: "NotAsked"},
		{claim: "cover/app-scratch"},
		{claim: "cover/app-spare", reason: "NotAsked"},
		// Declared to need no backup.
		{claim: "cover/ignored", reason: "Ignored"},
		// Pods that share an owner, which is no StatefulSet: each pod has its own state.
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
		// Volume types that restic cannot read.
		{claim: "cover/hostpath", reason: "HostPath", skipped: true},
		{claim: "cover/device", reason: "BlockVolume", skipped: true},
		// Excluded by Velero's label on the pod, or on the claim if no annotation names the volume.
		{claim: "cover/hidden", reason: "Excluded"},
		{claim: "cover/kept"},
		{claim: "cover-all/labeled", reason: "Excluded"},
		// All volumes by default, except what is excluded.
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
		// Protected at first; the end of the test changes that.
		{claim: "cover-stale/data"},
		{claim: "cover-fail/data"},
	}
}

func coverageNamespaces() []string {
	return []string{
		"cover", "cover-all", "cover-part", "cover-policy", "cover-rules", "cover-paused", "cover-none", "cover-stale",
		"cover-fail",
	}
}

// coverageSchedules returns the schedules that the test creates backups from.
func coverageSchedules() []string {
	return []string{"cover-nightly", "cover-all", "cover-part", "cover-policy", "cover-stale", "cover-fail"}
}

// scheduleManifest returns a schedule whose template has these fields.
func scheduleManifest(name, cron, spec, template string) string {
	return fmt.Sprintf(`
apiVersion: velero.io/v1
kind: Schedule
metadata: {name: %s, namespace: velero}
spec: {schedule: %q, %s template: {storageLocation: default, %s}}
`, name, cron, spec, template)
}

const coveragePolicy = `
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

const coverageRules = `
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

// coverageFixture has the namespaces of the test by name.
type coverageFixture map[string]*testNamespace

// newCoverageFixture creates schedules, claims and pods, and waits until the pods run or have completed.
func newCoverageFixture(t *testing.T) coverageFixture {
	t.Helper()
	f := coverageFixture{}
	for _, name := range coverageNamespaces() {
		f[name] = newCSINamespace(t, name)
	}
	cover := f["cover"]
	cover.createStorageClass("cover-now", corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingImmediate)
	for _, class := range []string{"cover-policy-left", "cover-rules-out", "cover-rules-other"} {
		cover.createStorageClass(class, corev1.PersistentVolumeReclaimDelete, storagev1.VolumeBindingWaitForFirstConsumer)
	}
	f.applySchedules(t)
	f.createAnnotatedPods(t)
	f.createOtherNamespaces(t)
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		// All at a time: the cleanup of each namespace waits afterwards.
		kubectl(t, append([]string{"delete", "namespace", "--wait=false"}, coverageNamespaces()...)...)
	})
	f.waitReady(t)
	return f
}

func (f coverageFixture) applySchedules(t *testing.T) {
	t.Helper()
	apply(t, coveragePolicy, coverageRules,
		scheduleManifest("cover-nightly", neverDue, "", "includedNamespaces: [cover, cover-rules]"),
		scheduleManifest("cover-all", neverDue, "", "includedNamespaces: [cover-all], defaultVolumesToFsBackup: true"),
		scheduleManifest("cover-part", neverDue, "",
			"includedNamespaces: [cover-part], labelSelector: {matchLabels: {tier: gold}}"),
		scheduleManifest("cover-policy", neverDue, "",
			"includedNamespaces: [cover-policy], resourcePolicy: {kind: configmap, name: cover-policy}"),
		scheduleManifest("cover-paused", neverDue, "paused: true,", "includedNamespaces: [cover-paused]"),
		scheduleManifest("cover-stale", "@every 1h", "", "includedNamespaces: [cover-stale]"),
		scheduleManifest("cover-fail", neverDue, "", "includedNamespaces: [cover-fail]"))
	t.Cleanup(func() {
		if t.Failed() {
			for _, what := range []string{"schedules.velero.io", "backups.velero.io"} {
				out, err := tryKubectl(t, "-n", "velero", "get", what, "-o", "wide")
				t.Logf("%s\n%v", out, err)
			}
		}
		args := []string{
			"-n", "velero", "delete", "--ignore-not-found", "configmap/cover-policy", "configmap/cover-rules",
		}
		for _, name := range append(coverageSchedules(), "cover-paused") {
			args = append(args, "schedules.velero.io/"+name)
		}
		kubectl(t, args...)
	})
}

// createAnnotatedPods creates the namespace whose pods name their volumes in annotations.
func (f coverageFixture) createAnnotatedPods(t *testing.T) {
	t.Helper()
	ns := f["cover"]
	ignored := ns.claim("ignored")
	ignored.Annotations = map[string]string{contract.AnnotationClaimIgnored: "true"}
	claims := []any{ignored, ns.labeledClaim("kept"), ns.claimOfClass("cover-now", "loose")}
	for _, claim := range []string{
		"data", "left", "op-0", "op-1", "op-2", "unmounted", "pending", "over", "over-quiet", "shared", "hidden",
	} {
		claims = append(claims, ns.claim(claim))
	}
	apply(t, claims...)
	apply(t, ns.pod("app", "data,scratch", claimVolume("data"), claimVolume("left"), claimVolume("ignored"),
		ns.ephemeralVolume("scratch"), ns.ephemeralVolume("spare")))
	apply(t, ns.operatorPods(t)...)
	unmounted := ns.pod("unmounted", "unmounted", claimVolume("unmounted"))
	unmounted.Spec.Containers[0].VolumeMounts = nil
	pending := ns.pod("pending", "pending", claimVolume("pending"))
	pending.Spec.NodeSelector = map[string]string{"no-such-label": "true"}
	hidden := ns.pod("hidden", "hidden", claimVolume("hidden"))
	hidden.Labels = map[string]string{contract.LabelExcludeFromBackup: "true"}
	apply(t, unmounted, pending, hidden, completedPod(ns.pod("over", "over", claimVolume("over"))),
		completedPod(ns.pod("over-quiet", "", claimVolume("over-quiet"))),
		completedPod(ns.pod("sweeper", "", claimVolume("shared"))),
		ns.pod("server", "shared", claimVolume("shared")), ns.pod("keeper", "kept", claimVolume("kept")))
	f.createStaticVolumes(t)
}

// labeledClaim has the label that excludes an object from backups.
func (ns *testNamespace) labeledClaim(name string) *corev1.PersistentVolumeClaim {
	claim := ns.claim(name)
	claim.Labels = map[string]string{contract.LabelExcludeFromBackup: "true"}
	return claim
}

// operatorPods have one owner, which is no StatefulSet, and one claim each.
func (ns *testNamespace) operatorPods(t *testing.T) []any {
	t.Helper()
	kubectl(t, "-n", ns.name, "create", "configmap", "operator")
	owner := get[corev1.ConfigMap](t, ns.name, "operator")
	var pods []any
	for i, annotation := range []string{"op-0", "", "op-2"} {
		name := fmt.Sprint("op-", i)
		pod := ns.pod(name, annotation, claimVolume(name))
		pod.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: owner.UID, Controller: ptr.To(true),
		}}
		pods = append(pods, pod)
	}
	return pods
}

// completedPod changes the pod to one that completes at once, as the pod of a Job.
func completedPod(pod *corev1.Pod) *corev1.Pod {
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.Containers[0].Command = []string{"true"}
	return pod
}

// createStaticVolumes creates pods with claims of two PersistentVolumes without a provisioner: a hostPath and a device.
func (f coverageFixture) createStaticVolumes(t *testing.T) {
	t.Helper()
	ns := f["cover"]
	static := &testNamespace{t: t, name: ns.name, storageClass: "cover-static"}
	host := localVolume(t, clusterOf(t).node, "cover-hostpath", static.storageClass)
	host.Spec.HostPath, host.Spec.Local = &corev1.HostPathVolumeSource{Path: host.Spec.Local.Path}, nil
	host.Spec.ClaimRef = &corev1.ObjectReference{Namespace: ns.name, Name: "hostpath"}
	device := localVolume(t, clusterOf(t).node, "cover-device", static.storageClass)
	device.Spec.VolumeMode, device.Spec.Local.Path = ptr.To(corev1.PersistentVolumeBlock), loopDevice(t, "cover-device")
	raw := static.claim("device")
	raw.Spec.VolumeMode = ptr.To(corev1.PersistentVolumeBlock)
	db := ns.pod("db", "device", claimVolume("device"))
	main := &db.Spec.Containers[0]
	main.VolumeMounts, main.VolumeDevices = nil, []corev1.VolumeDevice{{Name: "device", DevicePath: "/dev/device"}}
	apply(t, localStorageClass(static.storageClass), host, device, static.claim("hostpath"), raw, db,
		ns.pod("host", "hostpath", claimVolume("hostpath")))
	t.Cleanup(func() {
		kubectl(t, "delete", "persistentvolume", "-l", "e2e="+static.storageClass, "--timeout=30s", "--wait=false")
		kubectl(t, "delete", "storageclass", static.storageClass, "--ignore-not-found")
	})
}

// createOtherNamespaces creates the namespaces that differ in their schedules.
func (f coverageFixture) createOtherNamespaces(t *testing.T) {
	t.Helper()
	ns := f["cover-all"]
	web := ns.pod("web", "", claimVolume("data"), claimVolume("out"), claimVolume("labeled"),
		ns.ephemeralVolume("scratch"))
	web.Annotations = map[string]string{contract.AnnotationVolumesToExclude: "out"}
	apply(t, ns.claim("data"), ns.claim("out"), ns.labeledClaim("labeled"), ns.claim("over"), web,
		completedPod(ns.pod("over", "", claimVolume("over"))))

	ns = f["cover-part"]
	gold, drawn := ns.pod("gold", "gold", claimVolume("gold")), ns.claim("drawn")
	gold.Labels, drawn.Labels = map[string]string{"tier": "gold"}, map[string]string{"tier": "gold"}
	apply(t, ns.claim("gold"), drawn, ns.claim("plain"), gold, ns.pod("drawn", "drawn", claimVolume("drawn")),
		ns.pod("plain", "plain", claimVolume("plain")))

	ns = f["cover-policy"]
	apply(t, ns.claim("chosen"), ns.claimOfClass("cover-policy-left", "left"),
		ns.pod("web", "left", claimVolume("chosen"), claimVolume("left")))

	ns = f["cover-rules"]
	apply(t, ns.claim("in"), ns.claimOfClass("cover-rules-out", "out"), ns.claimOfClass("cover-rules-other", "other"),
		ns.pod("web", "", claimVolume("in"), claimVolume("out"), claimVolume("other")))

	for _, name := range []string{"cover-paused", "cover-none", "cover-stale", "cover-fail"} {
		apply(t, f[name].claim("data"), f[name].pod("web", "data", claimVolume("data")))
	}
}

func (f coverageFixture) waitReady(t *testing.T) {
	t.Helper()
	for namespace, pods := range map[string]string{
		"cover": "app op-0 op-1 op-2 unmounted hidden server keeper db host", "cover-all": "web",
		"cover-part": "gold drawn plain", "cover-policy": "web", "cover-rules": "web", "cover-paused": "web",
		"cover-none": "web", "cover-stale": "web", "cover-fail": "web",
	} {
		for pod := range strings.FieldsSeq(pods) {
			f[namespace].waitReady(pod)
		}
	}
	for _, pod := range []string{"over", "over-quiet", "sweeper"} {
		f["cover"].waitPhase(pod, corev1.PodSucceeded)
	}
	f["cover-all"].waitPhase("over", corev1.PodSucceeded)
	f["cover"].shell("app", "head -c 100000 /dev/zero > /data/file")
}
