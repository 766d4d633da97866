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

// scene is the namespace of one test, with a storage class and volumes of its own.
type scene struct {
	t         *testing.T
	namespace string
	// class is the storage class of the claims; empty means the cluster's default.
	class string
}

// newScene makes a namespace and so many local PersistentVolumes, named NAMESPACE-1 and so on. When the test has
// failed, it tells what can be seen in the end.
func newScene(t *testing.T, namespace string, volumes int) *scene {
	t.Helper()
	s := &scene{t: t, namespace: namespace}
	apply(t, &corev1.Namespace{TypeMeta: kind("v1", "Namespace"), ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	t.Cleanup(s.remove)
	if suite.node != nil && volumes > 0 {
		s.class = namespace
		apply(t, localClass(s.class))
	}
	for number := 1; s.class != "" && number <= volumes; number++ {
		apply(t, localVolume(t, suite.node, fmt.Sprintf("%s-%d", namespace, number), s.class))
	}
	return s
}

// remove leaves the cluster to the next test, unless somebody wants to look at what failed.
func (s *scene) remove() {
	if s.t.Failed() {
		s.tell()
		if os.Getenv("KEEP") != "" {
			return
		}
	}
	commands := [][]string{{"delete", "namespace", s.namespace, "--ignore-not-found", "--timeout=90s"}}
	if s.class != "" {
		commands = append(commands,
			[]string{"delete", "persistentvolume", "-l", "e2e=" + s.class, "--timeout=30s"},
			[]string{"delete", "storageclass", s.class, "--ignore-not-found"})
	}
	for _, command := range commands {
		if _, err := tryKubectl(s.t, command...); err != nil {
			s.t.Error("cleaning up:", err)
		}
	}
}

// tell logs what helps to see why a test failed.
func (s *scene) tell() {
	for _, look := range [][]string{
		{"-n", s.namespace, "get", "pods,persistentvolumeclaims", "-o", "wide"},
		{"-n", s.namespace, "get", "events", "--sort-by=.lastTimestamp"},
		{"-n", "velero", "get", "pods,backups.velero.io,restores.velero.io,resticrepositories.restic.velero.io"},
		{"-n", "velero", "get", "podvolumebackups.restic.velero.io,podvolumerestores.restic.velero.io", "-o", "wide"},
		{"-n", "velero", "logs", "daemonset/" + contract.DaemonSetName, "--tail=40"},
	} {
		out, err := tryKubectl(s.t, look...)
		s.t.Logf("$ kubectl %q\n%s%v", look, out, err)
	}
}

func kind(version, name string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: version, Kind: name}
}

func localClass(name string) *storagev1.StorageClass {
	mode := storagev1.VolumeBindingWaitForFirstConsumer
	return &storagev1.StorageClass{
		TypeMeta: kind("storage.k8s.io/v1", "StorageClass"), ObjectMeta: metav1.ObjectMeta{Name: name},
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
		TypeMeta:   kind("v1", "PersistentVolume"),
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"e2e": class}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName:              class,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: folder}},
			NodeAffinity:                  onNode(n.NodeName()),
		},
	}
}

func onNode(name string) *corev1.VolumeNodeAffinity {
	return &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{
			Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{name},
		}},
	}}}}
}

func (s *scene) claim(name string) *corev1.PersistentVolumeClaim {
	claim := &corev1.PersistentVolumeClaim{
		TypeMeta:   kind("v1", "PersistentVolumeClaim"),
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.namespace},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")},
			},
		},
	}
	if s.class != "" {
		claim.Spec.StorageClassName = &s.class
	}
	return claim
}

// pod mounts each volume at /NAME and does nothing. The annotation asks for the volumes' backup, unless it is empty.
func (s *scene) pod(name, annotation string, volumes ...corev1.Volume) *corev1.Pod {
	grace := int64(0) // the sleeper does not listen to signals
	pod := &corev1.Pod{
		TypeMeta:   kind("v1", "Pod"),
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: s.namespace},
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

// claimed is a volume of the claim with the same name.
func claimed(name string) corev1.Volume {
	source := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name}}
	return corev1.Volume{Name: name, VolumeSource: source}
}

func (s *scene) waitReady(pod string) {
	s.t.Helper()
	s.waitReadyIn(s.namespace, pod)
}

func (s *scene) waitReadyIn(namespace, pod string) {
	s.t.Helper()
	eventually(s.t, readyLimit, "pod "+namespace+"/"+pod+" ready", func() error {
		got, err := tryGet[corev1.Pod](s.t, "-n", namespace, "pod", pod)
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
func (s *scene) shell(pod, script string) string {
	s.t.Helper()
	return kubectl(s.t, "-n", s.namespace, "exec", pod, "-c", "main", "--", "sh", "-c", script)
}

// deleteNamespace loses everything that the test has made, but the PersistentVolumes.
func (s *scene) deleteNamespace() {
	s.t.Helper()
	start := time.Now()
	kubectl(s.t, "delete", "namespace", s.namespace, "--timeout=90s")
	s.t.Logf("namespace %s deleted in %.1f s", s.namespace, time.Since(start).Seconds())
}
