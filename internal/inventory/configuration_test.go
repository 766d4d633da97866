// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package inventory

import (
	"testing"

	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/coverage"
)

func policiesNamed(name, version string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: name},
		Data:       map[string]string{"p": "version: " + version + "\nvolumePolicies: [{action: {type: skip}}]\n"},
	}
}

// configured returns a configuration with two ConfigMaps of policies, one of them cluster-wide.
func configured() *configuration {
	c := newConfiguration(newClusterState("velero"))
	c.configMapChanged(nil, policiesNamed("own", "v1"))
	c.configMapChanged(nil, policiesNamed("all", "v1"))
	c.serverChanged(&coverage.Server{
		GlobalPolicies: "all", DefaultStorage: "default",
		StorageLocations: []coverage.StorageLocation{{Name: "default", Phase: velerov1.BackupStorageLocationPhaseAvailable}},
	})
	return c
}

func TestPoliciesAreParsedOnce(t *testing.T) {
	c := configured()
	merged, err := c.policies("own", "all")
	own, ownErr := c.policies("own")
	if err != nil || ownErr != nil {
		t.Fatal(err, ownErr)
	}
	for _, again := range [][]string{{"own", "all"}, {"own"}} {
		got, err := c.policies(again...)
		if err != nil || got != merged && got != own {
			t.Errorf("policies %v were parsed again: %v", again, err)
		}
	}
	c.configMapChanged(nil, policiesNamed("other", "v1"))
	if got, _ := c.policies("own", "all"); got != merged {
		t.Error("they were parsed again after a change of another ConfigMap")
	}
	c.configMapChanged(policiesNamed("all", "v1"), policiesNamed("all", "v2"))
	if _, err := c.policies("own", "all"); err == nil {
		t.Error("the change had no effect")
	}
	if got, _ := c.policies("own"); got != own {
		t.Error("it was parsed again after a change of the other ConfigMap")
	}
	c.configMapChanged(policiesNamed("own", "v1"), nil)
	if _, err := c.policies("own"); err == nil {
		t.Error("it still exists")
	}
}

// TestNamespaceLabel changes the label of a namespace. Only plans of schedules that name the namespace must be
// replaced.
func TestNamespaceLabel(t *testing.T) {
	c := configured()
	for name, namespaces := range map[string][]string{"names": {"shop", "bar"}, "matches": {"sho*"}} {
		c.scheduleChanged(nil, &velerov1.Schedule{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: velerov1.ScheduleSpec{
				Schedule: "@daily", Template: velerov1.BackupSpec{IncludedNamespaces: namespaces},
			},
		})
	}
	matches := c.plans["matches"]
	namespace := func(value string) *metav1.PartialObjectMetadata {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Name: "shop", Labels: map[string]string{contract.LabelExcludeFromBackup: value},
		}}
	}
	steps := []struct {
		before, after *metav1.PartialObjectMetadata
		refused       bool
	}{
		{nil, namespace("true"), true},
		{namespace("true"), namespace("false"), false},
		{namespace("false"), namespace("true"), true},
		{namespace("true"), nil, false},
	}
	for i, step := range steps {
		c.clusterState.namespaceChanged(step.before, step.after)
		if got := c.plans["names"].RefusalMessage(); (got != "") != step.refused {
			t.Errorf("step %d: refusal %q, want one: %t", i, got, step.refused)
		}
	}
	if c.plans["matches"] != matches {
		t.Error("the plan of a schedule that does not name the namespace was replaced")
	}
}
