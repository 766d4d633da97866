// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// restrictedPod changes the pod so that a namespace with Pod Security level restricted admits it.
func restrictedPod(pod *corev1.Pod) *corev1.Pod {
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{
		RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](1000), RunAsGroup: ptr.To[int64](1000),
		FSGroup:        ptr.To[int64](1000),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	return pod
}

// helperConfigMap is a ConfigMap that configures the plugin's init container.
func helperConfigMap(name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		TypeMeta: typeMeta("v1", "ConfigMap"),
		ObjectMeta: metav1.ObjectMeta{
			Namespace: velero.Namespace, Name: name,
			Labels: map[string]string{"velero.io/plugin-config": "", "velero.io/restic": "RestoreItemAction"},
		},
		Data: data,
	}
}

// helperImage returns the image that the cluster has, with the name of its registry.
func helperImage(t *testing.T) string {
	t.Helper()
	agent := get[appsv1.DaemonSet](t, velero.Namespace, contract.DaemonSetName)
	image := agent.Spec.Template.Spec.Containers[0].Image
	return "docker.io/" + contract.DefaultRestoreHelperImage + image[strings.LastIndexByte(image, ':'):]
}

// TestHelperConfig restores into a namespace of level restricted with a ConfigMap. The plugin applies the valid values,
// and uses the default with a warning for each invalid value.
func TestHelperConfig(t *testing.T) {
	reserveCluster(t)
	ns := newNamespace(t, "tuned", 0)
	kubectl(t, "label", "namespace", "tuned", "pod-security.kubernetes.io/enforce=restricted")
	apply(t, restrictedPod(ns.pod("web", "cache", emptyDir("cache"))))
	ns.waitReady("web")
	ns.shell("web", "umask 077; echo content > /cache/file")
	wantCompleted(t, backUp(t, "tuned", "--include-namespaces=tuned"))
	ns.delete()
	apply(t, &corev1.Namespace{TypeMeta: typeMeta("v1", "Namespace"), ObjectMeta: metav1.ObjectMeta{
		Name: "tuned", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}})
	image := helperImage(t)
	configs := []*corev1.ConfigMap{
		helperConfigMap("any-name", map[string]string{
			"image": image, "cpuRequest": "20m", "memRequest": "0", "memLimit": "lots", "cpuLimits": "1",
		}),
		helperConfigMap("one-too-many", map[string]string{"cpuRequest": "1"}),
	}
	for _, config := range configs {
		apply(t, config)
		t.Cleanup(func() {
			kubectl(t, "-n", velero.Namespace, "delete", "configmap", config.Name, "--ignore-not-found")
		})
	}

	result := restore(t, "tuned", "tuned")
	if result.Status.Phase != "Completed" || result.Status.Errors > 0 {
		t.Errorf("the restore is %s with %d errors, want Completed", result.Status.Phase, result.Status.Errors)
	}
	ns.waitReady("web")
	if got := ns.shell("web", "cat /cache/file"); got != "content\n" {
		t.Errorf("the file holds %q, want content", got)
	}
	pod := get[corev1.Pod](t, "tuned", "web")
	helper := pod.Spec.InitContainers[0]
	resources := func(cpu, memory string) corev1.ResourceList {
		return corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory),
		}
	}
	wanted := corev1.ResourceRequirements{Requests: resources("20m", "0"), Limits: resources("100m", "128Mi")}
	if diff := cmp.Diff(wanted, helper.Resources); diff != "" || helper.Image != image {
		t.Errorf("image %s, want %s; resources differ (-want +got):\n%s", helper.Image, image, diff)
	}
	if user := helper.SecurityContext.RunAsUser; user == nil || *user != 1000 {
		t.Errorf("the init container runs as user %v, want that of the pod", user)
	}
	checkConfigWarnings(t)
}

// checkConfigWarnings wants the warnings in each place where a user looks.
func checkConfigWarnings(t *testing.T) {
	t.Helper()
	warnings := []string{
		"ConfigMaps any-name and one-too-many in namespace velero both carry label velero.io/restic=RestoreItemAction",
		"key cpuLimits of the plugin's ConfigMap is ignored: the keys are image, command",
		"which is no quantity such as 128Mi or 0: 128Mi is used",
	}
	wantContains(t, "velero restore logs", strings.Join(warningsAndErrors(t, "restore", "tuned"), "\n"), warnings...)
	wantContains(t, "velero restore describe --details", veleroCLI(t, "restore", "describe", "tuned", "--details"),
		"cache: Completed, ", "3 warnings, the first: "+warnings[0])
	status := podVolumeRestores(t, "tuned")["web/cache"].Status
	wantContains(t, "the PodVolumeRestore", strings.Join(status.Warnings, "\n"), warnings...)
	if status.WarningCount != 3 {
		t.Errorf("the PodVolumeRestore counts %d warnings, want 3", status.WarningCount)
	}
	eventually(t, skippedLimit, "Event of the pod", func() error {
		events := list[corev1.EventList](t, client.InNamespace("tuned"),
			client.MatchingFields{"involvedObject.name": "web"})
		for _, event := range events.Items {
			if event.Reason == "CompletedWithWarnings" && strings.Contains(event.Message, "any-name") {
				return nil
			}
		}
		return fmt.Errorf("none of %d Events has reason CompletedWithWarnings and names the ConfigMap",
			len(events.Items))
	})
}
