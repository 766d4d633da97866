// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package integration

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// systemPod is one that a cluster must not have changed, with something of all that a patch can change.
func (a *annotated) systemPod() *corev1.Pod {
	a.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "kube-system", Name: "dns", Labels: map[string]string{"app": "dns"},
			Annotations: map[string]string{"example.com/note": "stays"}, Finalizers: []string{"example.com/kept"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "dns", UID: "uid"}},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "example.com/dns"}}},
	}
	a.create(pod)
	return pod
}

// patchAsAgent tries a merge patch with the agent's rights.
func (a *annotated) patchAsAgent(pod *corev1.Pod, patch string, options ...client.PatchOption) error {
	a.t.Helper()
	agent, err := client.New(a.agent, client.Options{})
	if err != nil {
		a.t.Fatal(err)
	}
	return agent.Patch(a.t.Context(), pod.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(patch)), options...)
}

// awaitConfined waits until the API server has begun to go by the admission policy.
func (a *annotated) awaitConfined(pod *corev1.Pod) {
	a.t.Helper()
	err := errors.New("nothing was tried")
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = a.patchAsAgent(pod, `{"metadata":{"labels":{"more":"x"}}}`, client.DryRunAll); apierrors.IsInvalid(err) {
			return
		}
	}
	a.t.Fatalf("the agent may still change a label: %v", err)
}

// checkConfined sees that the agent changes nothing of a pod but its two annotations.
func (a *annotated) checkConfined(pod *corev1.Pod) {
	a.t.Helper()
	for patch, says := range map[string]string{
		`{"spec":{"containers":[{"name":"main","image":"example.com/evil"}]}}`:                                       "its spec",
		`{"spec":{"activeDeadlineSeconds":1}}`:                                                                       "its spec",
		`{"metadata":{"labels":{"app":"other"}}}`:                                                                    "its labels",
		`{"metadata":{"labels":{"more":"x"}}}`:                                                                       "its labels",
		`{"metadata":{"labels":null}}`:                                                                               "its labels",
		`{"metadata":{"ownerReferences":null}}`:                                                                      "its ownerReferences",
		`{"metadata":{"generateName":"other-"}}`:                                                                     "its generateName",
		`{"metadata":{"finalizers":[]}}`:                                                                             "its finalizers",
		`{"metadata":{"annotations":{"example.com/note":"goes"}}}`:                                                   "must not change others",
		`{"metadata":{"annotations":{"example.com/note":null}}}`:                                                     "must not change others",
		`{"metadata":{"annotations":{"example.com/more":"x"}}}`:                                                      "must not change others",
		`{"metadata":{"annotations":null}}`:                                                                          "must not change others",
		`{"metadata":{"annotations":{"backup.velero.io/backup-volumes":"a","example.com/more":"x"}}}`:                "must not change others",
		`{"metadata":{"labels":{"more":"x"},"annotations":{"backup.velero.io/backup-volumes":"a"}}}`:                 "its labels",
		`{"spec":{"activeDeadlineSeconds":9},"metadata":{"annotations":{"backup.velero.io/backup-volumes":"data"}}}`: "its spec",
	} {
		err := a.patchAsAgent(pod, patch)
		if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "velero-restic-annotate") ||
			!strings.Contains(err.Error(), says) {
			a.t.Errorf("patch %s is answered with: %v", patch, err)
		}
	}
	a.untouched(pod)
	for _, patch := range []string{
		`{"metadata":{"annotations":{"backup.velero.io/backup-volumes":"a","restic.velero.io/backup-volumes-by-rule":"a"}}}`,
		`{"metadata":{"annotations":{"backup.velero.io/backup-volumes":null,"restic.velero.io/backup-volumes-by-rule":null}}}`,
	} {
		if err := a.patchAsAgent(pod, patch); err != nil {
			a.t.Errorf("patch %s is answered with: %v", patch, err)
		}
	}
	a.kubectl("-n kube-system label pod dns more=x")
	a.kubectl("-n kube-system annotate pod dns example.com/note-")
}

// TestRightsAreGivenOnce renders the component on the base, and looks for rights of the agents that are there twice, or
// for one namespace besides all.
func TestRightsAreGivenOnce(t *testing.T) {
	workspace := newWorkspace(t, shared.kubeconfig)
	manifests, err := workspace.Run(t.Context(), "kubectl kustomize "+annotateFolder(t))
	if err != nil {
		t.Fatalf("%v: %s", err, manifests)
	}
	const everywhere = "ClusterRole"
	given := map[string]string{}
	for document := range strings.SplitSeq(manifests, "\n---\n") {
		var role rbacv1.Role
		if err := yaml.Unmarshal([]byte(document), &role); err != nil || role.Kind != "Role" && role.Kind != everywhere {
			continue
		}
		for _, right := range rightsOf(role.Rules) {
			if by := given[right]; by != "" {
				t.Errorf("%s %s gives the right to %s, which a %s has given", role.Kind, role.Name, right, by)
			}
			given[right] = role.Kind
		}
	}
	if given[" pods [] patch"] != everywhere || given[" configmaps [] watch"] != "Role" {
		t.Errorf("the rights are %v", given)
	}
}

func rightsOf(rules []rbacv1.PolicyRule) []string {
	var rights []string
	for _, rule := range rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					rights = append(rights, fmt.Sprintf("%s %s %v %s", group, resource, rule.ResourceNames, verb))
				}
			}
		}
	}
	return rights
}
