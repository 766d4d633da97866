// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
	"github.com/velero-restic/velero-plugin-for-restic/internal/scope"
)

// TestPlanExcludedPods plans backups of three pods of namespace foo.
func TestPlanExcludedPods(t *testing.T) {
	i, err := New(&rest.Config{}, Options{Namespace: "velero", Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	i.synced, i.configuration.server = true, &coverage.Server{StorageLocations: []coverage.StorageLocation{
		{Name: "main", Default: true, Phase: velerov1.BackupStorageLocationPhaseAvailable},
	}}
	for name, labels := range map[string]map[string]string{
		"gold": {"tier": "gold"}, "plain": nil, "hidden": {"tier": "gold", contract.LabelExcludeFromBackup: "true"},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "foo", Name: name, Labels: labels}}
		if name == "plain" {
			pod.Status.Phase = corev1.PodSucceeded
		}
		i.clusterState.addPod(pod)
	}
	for name, test := range map[string]struct {
		spec velerov1.BackupSpec
		want map[string]scope.Reason
	}{
		"all": {want: map[string]scope.Reason{"gold": "", "plain": "", "hidden": scope.ReasonLabel}},
		"another namespace": {
			velerov1.BackupSpec{IncludedNamespaces: []string{"bar"}},
			map[string]scope.Reason{"gold": scope.ReasonNamespace, "plain": scope.ReasonNamespace, "hidden": scope.ReasonNamespace},
		},
		"no pods": {
			velerov1.BackupSpec{ExcludedResources: []string{"pods"}},
			map[string]scope.Reason{"gold": scope.ReasonResource, "plain": scope.ReasonResource, "hidden": scope.ReasonResource},
		},
		"by label": {
			velerov1.BackupSpec{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}}},
			map[string]scope.Reason{"gold": "", "plain": scope.ReasonSelector, "hidden": scope.ReasonLabel},
		},
	} {
		t.Run(name, func(t *testing.T) {
			previews, err := i.Plan(t.Context(), PlanRequest{Namespace: "foo", Spec: test.spec})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]scope.Reason{}
			for _, preview := range previews {
				got[preview.Pod.Name] = preview.Excluded
				if (preview.Message == "") != (preview.Excluded == scope.Included) {
					t.Errorf("pod %s: %+v", preview.Pod.Name, preview)
				}
				if ended := preview.Pod.Status.Phase == corev1.PodSucceeded; ended != (preview.Pod.Name == "plain") {
					t.Errorf("pod %s has the phase %s", preview.Pod.Name, preview.Pod.Status.Phase)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
		})
	}
}

// TestResultsOfDeletedClaims deletes one of two claims that an ended pod still names.
func TestResultsOfDeletedClaims(t *testing.T) {
	for range 20 { // the order of evaluation depends on a map
		i, err := New(&rest.Config{}, Options{Namespace: "velero", Log: logr.Discard()})
		if err != nil {
			t.Fatal(err)
		}
		i.configuration.server = &coverage.Server{}
		for _, listed := range i.listed {
			*listed = true
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "foo", Name: "job"}}
		for _, name := range []string{"a", "b"} {
			pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
			}})
			i.clusterState.claimChanged(nil, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "foo", Name: name}})
		}
		i.clusterState.podChanged(nil, pod)
		for i.decideNext() {
		}
		if len(i.results) != 2 {
			t.Fatalf("there are %d results", len(i.results))
		}
		i.clusterState.claimChanged(i.clusterState.namespaces["foo"].claims["b"], nil)
		for i.decideNext() {
		}
		if len(i.results) != 1 {
			t.Fatalf("there are %d results for one claim", len(i.results))
		}
	}
}
