// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// TestRestoreWorkloads restores the pods of a StatefulSet, a DaemonSet and a Job, and then backs up and restores them
// once more. TestPodTemplate has a Deployment.
func TestRestoreWorkloads(t *testing.T) {
	shareCluster(t)
	ns := newCSINamespace(t, "owned")
	apply(t, ns.statefulSet("db"), ns.daemonSet("every"), ns.claim("work"), ns.job("batch"))
	pods := ns.waitWorkloadPods()
	for pod, path := range pods {
		ns.shell(pod, "echo first of "+path+" > "+path+"/file")
	}
	generations := []string{"first", "second"}
	for i, generation := range generations {
		backup := fmt.Sprintf("owned-%d", i+1)
		wantCompleted(t, backUp(t, backup, "--include-namespaces=owned"))
		if taken := podVolumeBackups(t, backup); len(taken) != len(pods) {
			t.Errorf("%s has backed up %d volumes, want one of each of the pods %v", backup, len(taken), pods)
		}
		ns.delete()
		wantRestored(t, restore(t, backup, backup))
		for pod, path := range pods {
			ns.waitReady(pod)
			ns.checkGeneration(pod, path, generation)
			ns.shell(pod, "echo second of "+path+" > "+path+"/file")
		}
	}
	if sets := get[appsv1.StatefulSet](t, ns.name, "db"); sets.Status.ReadyReplicas != 2 {
		t.Errorf("StatefulSet db has %d ready pods, want 2", sets.Status.ReadyReplicas)
	}
}

// checkGeneration wants a restored volume to hold this generation, and the pod to have one init container of the
// restore.
func (ns *testNamespace) checkGeneration(pod, path, generation string) {
	ns.t.Helper()
	if got, want := ns.shell(pod, "cat "+path+"/file"), generation+" of "+path+"\n"; got != want {
		ns.t.Errorf("pod %s holds %q, want %q", pod, got, want)
	}
	var helpers []string
	for _, container := range get[corev1.Pod](ns.t, ns.name, pod).Spec.InitContainers {
		helpers = append(helpers, container.Name)
	}
	if len(helpers) != 1 || helpers[0] != contract.RestoreContainer {
		ns.t.Errorf("pod %s has the init containers %v, want only %s", pod, helpers, contract.RestoreContainer)
	}
}

// waitWorkloadPods waits for the pods of all workloads, and returns the path of each pod's volume.
func (ns *testNamespace) waitWorkloadPods() map[string]string {
	ns.t.Helper()
	pods := map[string]string{}
	eventually(ns.t, readyLimit, "four pods", func() error {
		names := ns.podNames()
		if len(names) < 4 {
			return fmt.Errorf("the pods are %v", names)
		}
		for _, name := range names {
			pods[name] = "/data"
			if strings.HasPrefix(name, "batch-") {
				pods[name] = "/work"
			}
		}
		return nil
	})
	for name := range pods {
		ns.waitReady(name)
	}
	return pods
}

func (ns *testNamespace) podTemplate(app, annotation string, volumes ...corev1.Volume) (
	*metav1.LabelSelector, corev1.PodTemplateSpec,
) {
	pod, labels := ns.pod("", annotation, volumes...), map[string]string{"app": app}
	return &metav1.LabelSelector{MatchLabels: labels}, corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: pod.Annotations}, Spec: pod.Spec,
	}
}

func (ns *testNamespace) statefulSet(name string) *appsv1.StatefulSet {
	selector, template := ns.podTemplate(name, "data", claimVolume("data"))
	template.Spec.Volumes = nil // the StatefulSet adds that of the claim
	return &appsv1.StatefulSet{
		TypeMeta:   typeMeta("apps/v1", "StatefulSet"),
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns.name},
		Spec: appsv1.StatefulSetSpec{
			Replicas: ptr.To[int32](2), Selector: selector, Template: template,
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{*ns.claim("data")},
			PodManagementPolicy:  appsv1.ParallelPodManagement,
		},
	}
}

func (ns *testNamespace) daemonSet(name string) *appsv1.DaemonSet {
	selector, template := ns.podTemplate(name, "data", emptyDir("data"))
	return &appsv1.DaemonSet{
		TypeMeta:   typeMeta("apps/v1", "DaemonSet"),
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns.name},
		Spec:       appsv1.DaemonSetSpec{Selector: selector, Template: template},
	}
}

func (ns *testNamespace) job(name string) *batchv1.Job {
	_, template := ns.podTemplate(name, "work", claimVolume("work"))
	template.Spec.RestartPolicy = corev1.RestartPolicyNever
	return &batchv1.Job{
		TypeMeta:   typeMeta("batch/v1", "Job"),
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns.name},
		Spec:       batchv1.JobSpec{Template: template},
	}
}
