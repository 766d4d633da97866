// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package pluginconfig_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/velero/pkg/plugin/framework/common"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/pluginconfig"
)

// TestSelector compares ours with Velero's.
func TestSelector(t *testing.T) {
	for _, kind := range pluginconfig.Kinds() {
		theirs, err := labels.Parse(common.PluginConfigLabelSelector(common.PluginKind(kind), contract.LabelPluginName))
		if err != nil {
			t.Fatal(err)
		}
		if got := pluginconfig.Selector(kind); got.String() != theirs.String() {
			t.Errorf("the selector of %s is %s, and Velero's %s", kind, got, theirs)
		}
	}
	selector := pluginconfig.Selector(contract.PluginKindBackup)
	for text, want := range map[string]bool{
		"velero.io/plugin-config=,velero.io/restic=BackupItemAction":     true,
		"velero.io/plugin-config=true,velero.io/restic=BackupItemAction": true,
		"velero.io/plugin-config=,velero.io/restic=RestoreItemAction":    false,
		"velero.io/restic=BackupItemAction":                              false,
		"velero.io/plugin-config=":                                       false,
	} {
		set, err := labels.ConvertSelectorToLabelsMap(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := selector.Matches(set); got != want {
			t.Errorf("%s is selected: %v, want %v", text, got, want)
		}
	}
}

func TestChoose(t *testing.T) {
	named := func(names ...string) []corev1.ConfigMap {
		var all []corev1.ConfigMap
		for _, name := range names {
			all = append(all, corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}})
		}
		return all
	}
	if used, others := pluginconfig.Choose(nil); used != nil || others != nil {
		t.Errorf("out of none %v is used, and not %v", used, others)
	}
	list := named("c", "a", "b")
	used, others := pluginconfig.Choose(list)
	if used == nil || used.Name != "a" {
		t.Errorf("%v is used", used)
	}
	if diff := cmp.Diff([]string{"b", "c"}, others); diff != "" {
		t.Error("the others:", diff)
	}
	if diff := cmp.Diff(named("c", "a", "b"), list); diff != "" {
		t.Error("the list has changed:", diff)
	}
	if _, others := pluginconfig.Choose(named("a")); others != nil {
		t.Errorf("besides the only one there are %v", others)
	}
}
