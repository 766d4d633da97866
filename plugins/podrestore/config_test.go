// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package podrestore

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/version"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster/clustertest"
)

func TestImage(t *testing.T) {
	for name, test := range map[string]struct {
		configured, server, want, warning string
	}{
		"the documented default": {server: "velero/velero:v1.18.3", want: "velero/velero-restic-restore-helper:v1.18.3"},
		"an image without tag gets Velero's": {
			configured: "myregistry.io/my-custom-helper-image", server: "velero/velero:v1.18.3",
			want: "myregistry.io/my-custom-helper-image:v1.18.3",
		},
		"an image with tag stays": {configured: "myregistry.io/helper:v7", want: "myregistry.io/helper:v7"},
		"the port of a registry is no tag": {
			configured: "localhost:5000/helper", server: "localhost:5000/velero:v2", want: "localhost:5000/helper:v2",
		},
		"an image with digest stays": {
			configured: "r.io/helper@sha256:" + strings.Repeat("a", 64), want: "r.io/helper@sha256:" + strings.Repeat("a", 64),
		},
		"Velero's tag beside a digest counts": {
			server: "velero/velero:v1.18.3@sha256:" + strings.Repeat("a", 64),
			want:   "velero/velero-restic-restore-helper:v1.18.3",
		},
		"Velero's image without tag": {
			server: "velero/velero@sha256:" + strings.Repeat("a", 64),
			want:   "velero/velero-restic-restore-helper:" + version.Version, warning: "has no tag",
		},
		"an image without registry":       {configured: "my-helper", server: "velero/velero:v1.18.3", want: "my-helper:v1.18.3"},
		"a registry with port, and a tag": {configured: "localhost:5000/team/helper:v7", want: "localhost:5000/team/helper:v7"},
		"a tag and a digest": {
			configured: "r.io/helper:v7@sha256:" + strings.Repeat("a", 64),
			want:       "r.io/helper:v7@sha256:" + strings.Repeat("a", 64),
		},
		"a digest that is too short": {
			configured: "r.io/helper@sha256:abc", server: "velero/velero:v1.18.3",
			want: "velero/velero-restic-restore-helper:v1.18.3", warning: "key image",
		},
		"what is no image is not used": {
			configured: "No Image!", server: "velero/velero:v1.18.3",
			want: "velero/velero-restic-restore-helper:v1.18.3", warning: "key image",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, warnings, err := imageOf(test.configured, func() (string, error) {
				if test.server == "" {
					return "", errors.New("nobody needs to know")
				}
				return test.server, nil
			})
			if err != nil || got != test.want {
				t.Errorf("image is %q with error %v, want %q", got, err, test.want)
			}
			if all := strings.Join(warnings, "\n"); !strings.Contains(all, test.warning) || (all == "") != (test.warning == "") {
				t.Errorf("warnings are %q, want %q in them", all, test.warning)
			}
		})
	}
}

func TestResources(t *testing.T) {
	list := func(cpu, memory string) corev1.ResourceList {
		out := corev1.ResourceList{}
		if cpu != "" {
			out[corev1.ResourceCPU] = resource.MustParse(cpu)
		}
		if memory != "" {
			out[corev1.ResourceMemory] = resource.MustParse(memory)
		}
		return out
	}
	for name, test := range map[string]struct {
		config   map[string]string
		requests corev1.ResourceList
		limits   corev1.ResourceList
		warning  string
	}{
		"the documented defaults": {requests: list("100m", "128Mi"), limits: list("100m", "128Mi")},
		"what is configured": {
			config:   map[string]string{"cpuRequest": "200m", "memRequest": "64Mi", "cpuLimit": "1", "memLimit": "1Gi"},
			requests: list("200m", "64Mi"), limits: list("1", "1Gi"),
		},
		"zero is unbounded": {
			config:   map[string]string{"cpuRequest": "0", "memRequest": "0", "cpuLimit": "0", "memLimit": "0"},
			requests: list("", ""), limits: list("", ""),
		},
		"a request of zero below a limit is said, or the limit would become it": {
			config:   map[string]string{"cpuRequest": "0", "memRequest": "0"},
			requests: list("0", "0"), limits: list("100m", "128Mi"),
		},
		"a limit of zero above a request": {
			config: map[string]string{"cpuRequest": "2", "cpuLimit": "0"}, requests: list("2", "128Mi"), limits: list("", "128Mi"),
		},
		"less than nothing": {
			config: map[string]string{"memRequest": "-1Gi"}, requests: list("100m", "128Mi"), limits: list("100m", "128Mi"),
			warning: `memRequest of the plugin's ConfigMap is "-1Gi"`,
		},
		"what is no quantity": {
			config: map[string]string{"cpuLimit": "much"}, requests: list("100m", "128Mi"), limits: list("100m", "128Mi"),
			warning: `cpuLimit of the plugin's ConfigMap is "much"`,
		},
		"a request above the limit": {
			config: map[string]string{"cpuRequest": "200m"}, requests: list("200m", "128Mi"), limits: list("200m", "128Mi"),
			warning: "cpu request 200m is above its limit 100m",
		},
		"a memory limit below the request": {
			config: map[string]string{"memLimit": "64Mi"}, requests: list("100m", "128Mi"), limits: list("100m", "128Mi"),
			warning: "memory request 128Mi is above its limit 64Mi",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, warnings := resourcesOf(test.config)
			if diff := cmp.Diff(corev1.ResourceRequirements{Requests: test.requests, Limits: test.limits}, got); diff != "" {
				t.Errorf("resources differ (-want +got):\n%s", diff)
			}
			if all := strings.Join(warnings, "\n"); !strings.Contains(all, test.warning) || (all == "") != (test.warning == "") {
				t.Errorf("warnings are %q, want %q in them", all, test.warning)
			}
		})
	}
}

func TestSecurity(t *testing.T) {
	restricted := func(change func(*corev1.SecurityContext)) *corev1.SecurityContext {
		out := &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false), ReadOnlyRootFilesystem: ptr.To(true), RunAsNonRoot: ptr.To(true),
			Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		}
		change(out)
		return out
	}
	own := func(out *corev1.SecurityContext) {
		out.RunAsUser, out.RunAsGroup = ptr.To[int64](65532), ptr.To[int64](65532)
	}
	for name, test := range map[string]struct {
		config  map[string]string
		pod     *corev1.PodSecurityContext
		first   *corev1.SecurityContext
		want    *corev1.SecurityContext
		warning string
	}{
		"a pod that names no user": {want: restricted(own)},
		"a pod that does run as root": {
			pod: &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](0)}, want: restricted(own),
		},
		"the pod's user": {
			pod: &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](70), RunAsGroup: ptr.To[int64](71)},
			want: restricted(func(out *corev1.SecurityContext) {
				out.RunAsUser, out.RunAsGroup = ptr.To[int64](70), ptr.To[int64](71)
			}),
		},
		"the first container's user goes before": {
			pod: &corev1.PodSecurityContext{RunAsUser: ptr.To[int64](70)}, first: &corev1.SecurityContext{RunAsUser: ptr.To[int64](80)},
			want: restricted(func(out *corev1.SecurityContext) { out.RunAsUser = ptr.To[int64](80) }),
		},
		"a user that the image alone knows": {
			pod:  &corev1.PodSecurityContext{RunAsNonRoot: ptr.To(true)},
			want: restricted(own),
		},
		"configured IDs": {
			config: map[string]string{"secCtxRunAsUser": "1000", "secCtxRunAsGroup": "999"},
			pod:    &corev1.PodSecurityContext{RunAsNonRoot: ptr.To(true)},
			want: restricted(func(out *corev1.SecurityContext) {
				out.RunAsUser, out.RunAsGroup = ptr.To[int64](1000), ptr.To[int64](999)
			}),
		},
		"root by configuration": {
			config: map[string]string{"secCtxRunAsUser": "0"}, pod: &corev1.PodSecurityContext{RunAsNonRoot: ptr.To(true)},
			want: restricted(func(out *corev1.SecurityContext) {
				own(out)
				out.RunAsUser, out.RunAsNonRoot = ptr.To[int64](0), ptr.To(false)
			}),
		},
		"a whole configured context": {
			config: map[string]string{"secCtx": "runAsUser: 5\nprivileged: false\n", "secCtxAllowPrivilegeEscalation": "true"},
			want: &corev1.SecurityContext{
				RunAsUser: ptr.To[int64](5), Privileged: ptr.To(false), AllowPrivilegeEscalation: ptr.To(true),
			},
		},
		"a field of the whole context wins over its own key": {
			config: map[string]string{"secCtx": "runAsUser: 5\n", "secCtxRunAsUser": "6", "secCtxRunAsGroup": "7"},
			want:   &corev1.SecurityContext{RunAsUser: ptr.To[int64](5), RunAsGroup: ptr.To[int64](7)},
		},
		"what cannot be read is not used": {
			config: map[string]string{"secCtxRunAsUser": "alice"}, want: restricted(own), warning: "secCtxRunAsUser",
		},
		"an ID that the API server would refuse": {
			config: map[string]string{"secCtxRunAsGroup": "2147483648"}, want: restricted(own), warning: "secCtxRunAsGroup",
		},
		"neither true nor false": {
			config: map[string]string{"secCtxAllowPrivilegeEscalation": "maybe"}, want: restricted(own),
			warning: "secCtxAllowPrivilegeEscalation",
		},
		"a whole context with a field that there is not": {
			config: map[string]string{"secCtx": "runAsUsr: 5\n"}, want: restricted(own), warning: "key secCtx",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, warnings := securityOf(test.config, &corev1.PodSpec{
				SecurityContext: test.pod, Containers: []corev1.Container{{SecurityContext: test.first}, {}},
			})
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("security context differs (-want +got):\n%s", diff)
			}
			if all := strings.Join(warnings, "\n"); !strings.Contains(all, test.warning) || (all == "") != (test.warning == "") {
				t.Errorf("warnings are %q, want %q in them", all, test.warning)
			}
		})
	}
}

func TestPluginConfig(t *testing.T) {
	config := func(name, image string) *corev1.ConfigMap {
		return &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: clustertest.Velero, Name: name,
				Labels: map[string]string{"velero.io/plugin-config": "", "velero.io/restic": "RestoreItemAction"},
			},
			// cspell:ignore imagee
			Data: map[string]string{"image": image, "command": "/wait", "imagee": "typo"},
		}
	}
	elsewhere := config("elsewhere", "elsewhere:1")
	elsewhere.Namespace = "app"
	c := clustertest.New(t, interceptor.Funcs{}, append(server(),
		config("b", "second:2"), config("a", "first:1"), elsewhere)...)
	got, err := execute(t, c, backedUp(t, data()), restore())
	if err != nil {
		t.Fatal(err)
	}
	helper := got.pod.Spec.InitContainers[0]
	if helper.Image != "first:1" || helper.Command[0] != "/wait" || helper.Name != contract.RestoreContainer {
		t.Errorf("init container is %+v, want it as configured", helper)
	}
	first := objects(t, c)["data-volume"].Spec.Warnings
	for what, said := range map[string]string{"log": warnings(got.log), "PodVolumeRestore": strings.Join(first, "\n")} {
		if !strings.Contains(said, "ConfigMaps a and b") || !strings.Contains(said, "key imagee of") {
			t.Errorf("warnings in the %s are %q, want that there are two ConfigMaps and an unknown key", what, said)
		}
	}
}
