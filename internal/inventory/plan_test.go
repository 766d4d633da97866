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

// TestPlanSaysWhyAPodIsOutside asks an inventory that has three pods of namespace foo, and has synced.
func TestPlanSaysWhyAPodIsOutside(t *testing.T) {
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
		i.world.addPod(pod)
	}
	for name, test := range map[string]struct {
		spec velerov1.BackupSpec
		want map[string]scope.Why
	}{
		"all": {want: map[string]scope.Why{"gold": "", "plain": "", "hidden": scope.WhyLabel}},
		"another namespace": {
			velerov1.BackupSpec{IncludedNamespaces: []string{"bar"}},
			map[string]scope.Why{"gold": scope.WhyNamespace, "plain": scope.WhyNamespace, "hidden": scope.WhyNamespace},
		},
		"no pods": {
			velerov1.BackupSpec{ExcludedResources: []string{"pods"}},
			map[string]scope.Why{"gold": scope.WhyResource, "plain": scope.WhyResource, "hidden": scope.WhyResource},
		},
		"by label": {
			velerov1.BackupSpec{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"tier": "gold"}}},
			map[string]scope.Why{"gold": "", "plain": scope.WhySelector, "hidden": scope.WhyLabel},
		},
	} {
		t.Run(name, func(t *testing.T) {
			plans, err := i.Plan(t.Context(), PlanRequest{Namespace: "foo", Spec: test.spec})
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]scope.Why{}
			for _, plan := range plans {
				got[plan.Pod] = plan.Outside
				if plan.InBackup != (plan.Outside == scope.In) || (plan.Message == "") != plan.InBackup ||
					plan.Ended != (plan.Pod == "plain") {
					t.Errorf("pod %s is %+v", plan.Pod, plan)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("why pods are outside (-want +got):\n%s", diff)
			}
		})
	}
}

// TestVerdictsGoWithTheirClaims deletes one of two claims that a pod which has ended goes on naming.
func TestVerdictsGoWithTheirClaims(t *testing.T) {
	for range 20 { // which of the two is looked at first is a map's choice
		i, err := New(&rest.Config{}, Options{Namespace: "velero", Log: logr.Discard()})
		if err != nil {
			t.Fatal(err)
		}
		i.configuration.server = &coverage.Server{}
		for _, filled := range i.filled {
			*filled = true
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "foo", Name: "job"}}
		for _, name := range []string{"a", "b"} {
			pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name},
			}})
			i.world.claimChanged(nil, &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "foo", Name: name}})
		}
		i.world.podChanged(nil, pod)
		for i.decideNext() {
		}
		if len(i.verdicts) != 2 {
			t.Fatalf("there are %d verdicts", len(i.verdicts))
		}
		i.world.claimChanged(i.world.spaces["foo"].claims["b"], nil)
		for i.decideNext() {
		}
		if len(i.verdicts) != 1 {
			t.Fatalf("there are %d verdicts for one claim", len(i.verdicts))
		}
	}
}
