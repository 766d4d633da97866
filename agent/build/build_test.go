// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package build

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/version"
)

func TestPublisher(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "restic-x7k2p", UID: "uid-of-pod"}}
	earlier := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Namespace: "velero", Name: "restic-x7k2p", Labels: map[string]string{"a-person's": "own"},
		Annotations: map[string]string{contract.AnnotationVersion: "v0.0.1"},
	}}
	cases := map[string]*fake.Clientset{
		"the first time": fake.NewClientset(pod),
		"after the container was started once more": fake.NewClientset(pod, earlier),
	}
	for name, client := range cases {
		t.Run(name, func(t *testing.T) {
			publisher := &Publisher{client: client, namespace: "velero", pod: "restic-x7k2p", node: "node-1"}
			if err := publisher.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			lease, err := client.CoordinationV1().Leases("velero").Get(t.Context(), "restic-x7k2p", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{
				contract.AnnotationVersion: version.Version, contract.AnnotationResticVersion: version.Restic,
			}
			if diff := cmp.Diff(want, lease.Annotations); diff != "" {
				t.Errorf("annotations (-want +got):\n%s", diff)
			}
			if lease.Labels[contract.LabelAgent] != "true" || lease.Labels[contract.LabelExcludeFromBackup] != "true" ||
				*lease.Spec.HolderIdentity != "node-1" || lease.Spec.AcquireTime == nil {
				t.Errorf("the Lease is %+v", lease)
			}
			owner := []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "restic-x7k2p", UID: "uid-of-pod"}}
			if diff := cmp.Diff(owner, lease.OwnerReferences); diff != "" {
				t.Errorf("owner (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPublisherWithoutPod is an agent that was not told the name of its pod: it works all the same.
func TestPublisherWithoutPod(t *testing.T) {
	client := fake.NewClientset()
	publisher := &Publisher{client: client, namespace: "velero", pod: "elsewhere", node: "node-1"}
	if err := publisher.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	leases, err := client.CoordinationV1().Leases("velero").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(leases.Items) > 0 {
		t.Errorf("got %+v, %v", leases.Items, err)
	}
}
