// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/node"
)

// readyLimit is how long a pod may take to be ready, its volumes restored.
const readyLimit = 4 * time.Minute

// testNamespace is the namespace of one test, with a storage class and volumes of its own.
type testNamespace struct {
	t    *testing.T
	name string
	// class is the storage class of the claims; empty means the cluster's default.
	storageClass string
}

// newNamespace makes a namespace and so many local PersistentVolumes, named NAMESPACE-1 and so on. When the test has
// failed, it tells what can be seen in the end.
func newNamespace(t *testing.T, namespace string, volumes int) *testNamespace {
	t.Helper()
	ns := &testNamespace{t: t, name: namespace}
	apply(t, &corev1.Namespace{TypeMeta: typeMeta("v1", "Namespace"), ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	t.Cleanup(ns.cleanUp)
	if suite.node != nil && volumes > 0 {
		ns.storageClass = namespace
		apply(t, localStorageClass(ns.storageClass))
	}
	for number := 1; ns.storageClass != "" && number <= volumes; number++ {
		apply(t, localVolume(t, suite.node, fmt.Sprintf("%s-%d", namespace, number), ns.storageClass))
	}
	return ns
}

// cleanUp leaves the cluster to the next test, unless somebody wants to look at what failed.
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

// logState logs what helps to see why a test failed.
func (ns *testNamespace) logState() {
	for _, look := range [][]string{
		{"-n", ns.name, "get", "pods,persistentvolumeclaims", "-o", "wide"},
		{"-n", ns.name, "get", "events", "--sort-by=.lastTimestamp"},
		{"-n", "velero", "get", "pods,backups.velero.io,restores.velero.io,resticrepositories.restic.velero.io"},
		{"-n", "velero", "get", "podvolumebackups.restic.velero.io,podvolumerestores.restic.velero.io", "-o", "wide"},
		{"-n", "velero", "logs", "daemonset/" + contract.DaemonSetName, "--tail=40"},
	} {
		out, err := tryKubectl(ns.t, look...)
		ns.t.Logf("$ kubectl %q\n%s%v", look, out, err)
	}
}

func typeMeta(version, name string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: version, Kind: name}
}

func localStorageClass(name string) *storagev1.StorageClass {
	mode := storagev1.VolumeBindingWaitForFirstConsumer
	return &storagev1.StorageClass{
		TypeMeta: typeMeta("storage.k8s.io/v1", "StorageClass"), ObjectMeta: metav1.ObjectMeta{Name: name},
		Provisioner: "kubernetes.io/no-provisioner", VolumeBindingMode: &mode,
	}
}

// localVolume makes a folder on the node and the PersistentVolume for it.
func localVolume(t *testing.T, n *node.Node, name, class string) *corev1.PersistentVolume {
	t.Helper()
	folder := filepath.Join(n.State(), "volumes", name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return &corev1.PersistentVolume{
		TypeMeta:   typeMeta("v1", "PersistentVolume"),
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"e2e": class}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName:              class,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: folder}},
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

// pod mounts each volume at /NAME and does nothing. The annotation asks for the volumes' backup, unless it is empty.
func (ns *testNamespace) pod(name, annotation string, volumes ...corev1.Volume) *corev1.Pod {
	grace := int64(0) // the sleeper does not listen to signals
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
		main.VolumeMounts = append(main.VolumeMounts,
			corev1.VolumeMount{Name: volume.Name, MountPath: "/" + volume.Name})
	}
	return pod
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
	ns.waitReadyIn(ns.name, pod)
}

func (ns *testNamespace) waitReadyIn(namespace, pod string) {
	ns.t.Helper()
	eventually(ns.t, readyLimit, "pod "+namespace+"/"+pod+" ready", func() error {
		got, err := tryGet[corev1.Pod](ns.t, "-n", namespace, "pod", pod)
		if err != nil {
			return err
		}
		for _, condition := range got.Status.Conditions {
			if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("it is %s: %+v", got.Status.Phase, got.Status.InitContainerStatuses)
	})
}

// shell runs a script in the pod and returns what it prints.
func (ns *testNamespace) shell(pod, script string) string {
	ns.t.Helper()
	return kubectl(ns.t, "-n", ns.name, "exec", pod, "-c", "main", "--", "sh", "-c", script)
}

// delete loses everything that the test has made, but the PersistentVolumes.
func (ns *testNamespace) delete() {
	ns.t.Helper()
	start := time.Now()
	kubectl(ns.t, "delete", "namespace", ns.name, "--timeout=90s")
	ns.t.Logf("namespace %s deleted in %.1f s", ns.name, time.Since(start).Seconds())
}
