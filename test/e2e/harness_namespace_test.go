// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/node"
)

// readyLimit is how long a pod may take to become ready, including the restore of its volumes.
const readyLimit = 4 * time.Minute

// testNamespace is the namespace of one test, with a storage class and volumes of its own.
type testNamespace struct {
	t    *testing.T
	name string
	// storageClass is the class of the claims; empty means the cluster's default.
	storageClass string
}

// newNamespace creates a namespace and so many local PersistentVolumes, named NAMESPACE-1 and so on. If the test fails,
// it logs the final state of the namespace.
func newNamespace(t *testing.T, name string, volumes int) *testNamespace {
	t.Helper()
	ns := &testNamespace{t: t, name: name}
	apply(t, &corev1.Namespace{TypeMeta: typeMeta("v1", "Namespace"), ObjectMeta: metav1.ObjectMeta{Name: name}})
	t.Cleanup(ns.cleanUp)
	n := clusterOf(t).node
	if n == nil || volumes == 0 {
		return ns
	}
	ns.storageClass = name
	objects := []any{localStorageClass(ns.storageClass)}
	for number := 1; number <= volumes; number++ {
		objects = append(objects, localVolume(t, n, fmt.Sprintf("%s-%d", name, number), ns.storageClass))
	}
	apply(t, objects...)
	return ns
}

// in returns the namespace for a subtest.
func (ns *testNamespace) in(t *testing.T) *testNamespace {
	t.Helper()
	return &testNamespace{t: t, name: ns.name, storageClass: ns.storageClass}
}

// cleanUp removes the namespace, unless KEEP asks to keep what failed.
func (ns *testNamespace) cleanUp() {
	if ns.t.Failed() {
		ns.logState()
		if os.Getenv("KEEP") != "" {
			return
		}
	}
	commands := [][]string{{"delete", "namespace", ns.name, "--ignore-not-found", "--timeout=90s"}}
	if ns.storageClass != "" {
		commands = append(commands,
			[]string{"delete", "persistentvolume", "-l", "e2e=" + ns.storageClass, "--timeout=30s"},
			[]string{"delete", "storageclass", ns.storageClass, "--ignore-not-found"})
	}
	for _, command := range commands {
		if _, err := tryKubectl(ns.t, command...); err != nil {
			ns.t.Error("cleaning up:", err)
		}
	}
}

// logState logs what helps to find out why a test failed.
func (ns *testNamespace) logState() {
	for _, command := range [][]string{
		{"-n", ns.name, "get", "pods,persistentvolumeclaims", "-o", "wide"},
		{"-n", ns.name, "get", "events", "--sort-by=.lastTimestamp"},
		{"-n", "velero", "get", "pods,backups.velero.io,restores.velero.io,resticrepositories.restic.velero.io"},
		{"-n", "velero", "get", "podvolumebackups.restic.velero.io,podvolumerestores.restic.velero.io", "-o", "wide"},
		{"-n", "velero", "logs", "daemonset/" + contract.DaemonSetName, "--tail=40"},
	} {
		out, err := tryKubectl(ns.t, command...)
		ns.t.Logf("$ kubectl %q\n%s%v", command, out, err)
	}
}

func typeMeta(version, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: version, Kind: kind}
}

func localStorageClass(name string) *storagev1.StorageClass {
	mode := storagev1.VolumeBindingWaitForFirstConsumer
	return &storagev1.StorageClass{
		TypeMeta: typeMeta("storage.k8s.io/v1", "StorageClass"), ObjectMeta: metav1.ObjectMeta{Name: name},
		Provisioner: "kubernetes.io/no-provisioner", VolumeBindingMode: &mode,
	}
}

// localVolume creates a directory on the node and returns a PersistentVolume for it.
func localVolume(t *testing.T, n *node.Node, name, class string) *corev1.PersistentVolume {
	t.Helper()
	directory := filepath.Join(n.State(), "volumes", name)
	if err := os.MkdirAll(directory, 0o755); err != nil {
		t.Fatal(err)
	}
	local := &corev1.LocalVolumeSource{Path: directory}
	return &corev1.PersistentVolume{
		TypeMeta:   typeMeta("v1", "PersistentVolume"),
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"e2e": class}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName:              class,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: local},
			NodeAffinity:                  nodeAffinity(n.NodeName()),
		},
	}
}

func nodeAffinity(name string) *corev1.VolumeNodeAffinity {
	return &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{
			Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{name},
		}},
	}}}}
}

func (ns *testNamespace) claim(name string) *corev1.PersistentVolumeClaim {
	claim := &corev1.PersistentVolumeClaim{
		TypeMeta:   typeMeta("v1", "PersistentVolumeClaim"),
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns.name},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			},
		},
	}
	if ns.storageClass != "" {
		claim.Spec.StorageClassName = &ns.storageClass
	}
	return claim
}

// pod sleeps, with each volume mounted at /NAME. The annotation names the volumes to back up, unless it is empty.
func (ns *testNamespace) pod(name, annotation string, volumes ...corev1.Volume) *corev1.Pod {
	grace := int64(0) // sleep ignores SIGTERM
	pod := &corev1.Pod{
		TypeMeta:   typeMeta("v1", "Pod"),
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns.name},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: &grace,
			Volumes:                       volumes,
			Containers: []corev1.Container{{
				Name: "main", Image: node.BusyboxImage, Command: []string{"sleep", "infinity"},
			}},
		},
	}
	if annotation != "" {
		pod.Annotations = map[string]string{contract.AnnotationVolumesToBackup: annotation}
	}
	main := &pod.Spec.Containers[0]
	for _, volume := range volumes {
		main.VolumeMounts = append(main.VolumeMounts, mountOf(volume.Name))
	}
	return pod
}

func mountOf(volume string) corev1.VolumeMount {
	return corev1.VolumeMount{Name: volume, MountPath: "/" + volume}
}

func emptyDir(name string) corev1.Volume {
	source := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	return corev1.Volume{Name: name, VolumeSource: source}
}

// claimVolume is a volume of the claim with the same name.
func claimVolume(name string) corev1.Volume {
	source := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}
	return corev1.Volume{Name: name, VolumeSource: source}
}

func (ns *testNamespace) waitReady(pod string) {
	ns.t.Helper()
	eventually(ns.t, readyLimit, "pod "+ns.name+"/"+pod+" ready", func() error {
		got, err := tryGet[corev1.Pod](ns.t, ns.name, pod)
		if err != nil {
			return err
		}
		for _, condition := range got.Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("its phase is %s: %+v", got.Status.Phase, got.Status.InitContainerStatuses)
	})
}

func (ns *testNamespace) waitPhase(pod string, phase corev1.PodPhase) {
	ns.t.Helper()
	eventually(ns.t, readyLimit, "phase "+string(phase)+" of pod "+ns.name+"/"+pod, func() error {
		got, err := tryGet[corev1.Pod](ns.t, ns.name, pod)
		if err == nil && got.Status.Phase != phase {
			err = fmt.Errorf("its phase is %s", got.Status.Phase)
		}
		return err
	})
}

// podNames returns the names of all pods, sorted.
func (ns *testNamespace) podNames() []string {
	ns.t.Helper()
	names := kubectl(ns.t, "-n", ns.name, "get", "pods", "--sort-by=.metadata.name",
		"-o", "jsonpath={.items[*].metadata.name}")
	return strings.Fields(names)
}

// boundVolume returns the name of the PersistentVolume that the claim is bound to.
func (ns *testNamespace) boundVolume(claim string) string {
	ns.t.Helper()
	found := get[corev1.PersistentVolumeClaim](ns.t, ns.name, claim)
	if found.Status.Phase != corev1.ClaimBound {
		ns.t.Errorf("claim %s is %s, want Bound", claim, found.Status.Phase)
	}
	return found.Spec.VolumeName
}

// shell runs a script in the pod's main container and returns its output.
func (ns *testNamespace) shell(pod, script string) string {
	ns.t.Helper()
	return kubectl(ns.t, "-n", ns.name, "exec", pod, "-c", "main", "--", "sh", "-c", script)
}

// delete deletes the namespace with everything in it. The PersistentVolumes stay.
func (ns *testNamespace) delete() {
	ns.t.Helper()
	start := time.Now()
	kubectl(ns.t, "delete", "namespace", ns.name, "--timeout=90s")
	ns.t.Logf("namespace %s deleted in %.1f s", ns.name, time.Since(start).Seconds())
}
