// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package integration

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/velero-restic/velero-plugin-for-restic/test/apiserver"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/part"
	"github.com/velero-restic/velero-plugin-for-restic/test/page"
)

// pinned returns the folder of a module that the go.mod in that folder pins.
func pinned(t *testing.T, folder, module string) string {
	t.Helper()
	if _, err := command("go", "-C", folder, "mod", "download", module); err != nil {
		t.Fatal(err)
	}
	path, err := command("go", "-C", folder, "list", "-m", "-f", "{{.Dir}}", module)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// openshiftServer is an API server for one test, with OpenShift's SecurityContextConstraints, and a workspace at it.
func openshiftServer(t *testing.T) (*page.Workspace, client.Client) {
	t.Helper()
	return platformServer(t, filepath.Join(pinned(t, "openshift", "github.com/openshift/api"), "payload-manifests",
		"crds", "0000_03_config-operator_01_securitycontextconstraints.crd.yaml"))
}

// platformServer is an API server for one test, with the definitions in those files, and a workspace at it.
func platformServer(t *testing.T, definitions ...string) (*page.Workspace, client.Client) {
	t.Helper()
	api, err := apiserver.Start(t.Context(), t.Output(), definitions...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := api.Stop(); err != nil {
			t.Error(err)
		}
	})
	kubeconfig, err := api.Kubeconfig("reader")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		t.Fatal(err)
	}
	kube, err := client.New(api.Config, client.Options{Scheme: shared.client.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return newWorkspace(t, file), kube
}

func newWorkspace(t *testing.T, kubeconfig string) *page.Workspace {
	t.Helper()
	cache, err := part.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var programs []string
	for _, name := range []string{"kubectl", "velero"} {
		if err := cache.Build(t.Context(), t.Output(), name); err != nil {
			t.Fatal(err)
		}
		program, err := cache.Binary(name)
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, filepath.Dir(program))
	}
	workspace, err := page.NewWorkspace(page.WorkspaceOptions{
		Repository: cache.Repository, Folder: t.TempDir(), Kubeconfig: kubeconfig,
		Programs: programs, KubeletRoot: "/var/lib/own/kubelet",
	})
	if err != nil {
		t.Fatal(err)
	}
	return workspace
}

// TestPages follows the pages that need no node.
func TestPages(t *testing.T) {
	workspace, _ := openshiftServer(t)
	for _, guide := range page.Guides() {
		if !guide.Server {
			continue
		}
		t.Run(guide.File, func(t *testing.T) {
			if err := workspace.Follow(t.Context(), guide, "", t.Output()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestPlatforms applies each overlay to an API server of its own, and looks at the agent that it makes: what is changed
// for the platform, and that everything else is as in the base.
func TestPlatforms(t *testing.T) {
	workspace, kube := openshiftServer(t)
	run := func(t *testing.T, script string) string {
		t.Helper()
		output, err := workspace.Run(t.Context(), script)
		if err != nil {
			t.Fatalf("%s: %v: %s", script, err, output)
		}
		return output
	}
	run(t, `kubectl create namespace velero
kubectl label namespace velero pod-security.kubernetes.io/enforce=privileged
kubectl create namespace baseline
kubectl label namespace baseline pod-security.kubernetes.io/enforce=baseline`)
	base := rendered(t, run(t, "kubectl kustomize examples/base"))
	const usual = "/var/lib/kubelet/pods"
	for overlay, want := range map[string]struct {
		path       string
		privileged bool
		// kinds are what the overlay has beside the base, or not.
		kinds, without []string
	}{
		"rancheros":     {path: "/opt/rke/var/lib/kubelet/pods", without: []string{"MutatingAdmissionPolicy"}},
		"openshift":     {path: usual, privileged: true, without: []string{"MutatingAdmissionPolicy"}},
		"openshift-3":   {path: "/var/lib/origin/openshift.local.volumes/pods", privileged: true},
		"openshift-scc": {path: usual, kinds: []string{"SecurityContextConstraints"}},
		"pks":           {path: "/var/vcap/data/kubelet/pods", without: []string{"MutatingAdmissionPolicy"}},
		"azure":         {path: usual, kinds: []string{"StorageClass", "MutatingAdmissionPolicy"}},
		"selinux":       {path: usual, privileged: true, kinds: []string{"MutatingAdmissionPolicy"}},
		"kubelet-root":  {path: "/var/lib/own/kubelet/pods", kinds: []string{"MutatingAdmissionPolicy"}},
	} {
		t.Run(overlay, func(t *testing.T) {
			text := run(t, "kubectl kustomize examples/"+overlay)
			for _, kind := range want.kinds {
				if !strings.Contains(text, "\nkind: "+kind+"\n") {
					t.Errorf("there is no %s in it", kind)
				}
			}
			for _, kind := range want.without {
				if strings.Contains(text, "\nkind: "+kind) {
					t.Errorf("there is a %s in it", kind)
				}
			}
			run(t, "kubectl apply --validate=strict --server-side --force-conflicts -k examples/"+overlay)
			var agent appsv1.DaemonSet
			if err := kube.Get(t.Context(), client.ObjectKey{Namespace: "velero", Name: "restic"}, &agent); err != nil {
				t.Fatal(err)
			}
			pod := agent.Spec.Template.Spec
			if volume := pod.Volumes[0]; volume.Name != "host-pods" || volume.HostPath.Path != want.path {
				t.Errorf("the first volume is %s with %v, want host-pods with %s", volume.Name, volume.HostPath, want.path)
			}
			security := pod.Containers[0].SecurityContext
			if got := security.Privileged != nil && *security.Privileged; got != want.privileged {
				t.Errorf("privileged is %v, want %v", got, want.privileged)
			}
			if !want.privileged {
				if diff := cmp.Diff(agentCapabilities(), security.Capabilities.Add); diff != "" {
					t.Errorf("the capabilities (-want +got):\n%s", diff)
				}
			}
			same(t, base.Spec.Template.Spec, pod)
			admitted(t, kube, &agent)
		})
	}
}

// agentCapabilities are all that an agent has which is not privileged: seven to read and restore files, two to build the
// sandbox of restic.
func agentCapabilities() []corev1.Capability {
	return []corev1.Capability{
		"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "MKNOD", "SETFCAP", "SYS_ADMIN", "SYS_CHROOT",
	}
}

// rendered finds the DaemonSet in what kustomize prints.
func rendered(t *testing.T, manifests string) appsv1.DaemonSet {
	t.Helper()
	for document := range strings.SplitSeq(manifests, "\n---\n") {
		var agent appsv1.DaemonSet
		if err := yaml.Unmarshal([]byte(document), &agent); err == nil && agent.Kind == "DaemonSet" {
			return agent
		}
	}
	t.Fatal("there is no DaemonSet in it")
	return appsv1.DaemonSet{}
}

// same compares what no platform changes.
func same(t *testing.T, base, pod corev1.PodSpec) {
	t.Helper()
	first, other := base.Containers[0], pod.Containers[0]
	if first.Name != other.Name || first.Image != other.Image || len(first.Env) != len(other.Env) ||
		len(first.VolumeMounts) != len(other.VolumeMounts) || base.ServiceAccountName != pod.ServiceAccountName ||
		len(base.Volumes) != len(pod.Volumes) || pod.ServiceAccountName != "velero-restic" {
		t.Errorf("the agent is not that of the base: %+v", pod)
	}
	mount := other.VolumeMounts[0]
	if mount.MountPropagation == nil || *mount.MountPropagation != corev1.MountPropagationHostToContainer {
		t.Errorf("the mount of %s has propagation %v", mount.Name, mount.MountPropagation)
	}
}

// admitted tries the agent's pod where Pod Security is as `velero install` sets it, and where it is stricter.
func admitted(t *testing.T, kube client.Client, agent *appsv1.DaemonSet) {
	t.Helper()
	for namespace, refused := range map[string]bool{"velero": false, "baseline": true} {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "agent"}, Spec: *agent.Spec.Template.Spec.DeepCopy(),
		}
		err := kube.Create(t.Context(), pod, client.DryRunAll)
		if (err != nil) != refused || refused && !strings.Contains(err.Error(), "hostPath volumes") {
			t.Errorf("in namespace %s the agent's pod is answered with: %v", namespace, err)
		}
	}
}
