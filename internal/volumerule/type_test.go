// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumerule_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/volumerule"
)

// sources returns a value for each source of volumes in Kubernetes' API, with that source alone, by its name there.
func sources[S corev1.VolumeSource | corev1.PersistentVolumeSource]() map[string]S {
	all := map[string]S{}
	kind := reflect.TypeFor[S]()
	for i := range kind.NumField() {
		var source S
		reflect.ValueOf(&source).Elem().Field(i).Set(reflect.New(kind.Field(i).Type.Elem()))
		name, _, _ := strings.Cut(kind.Field(i).Tag.Get("json"), ",")
		all[name] = source
	}
	return all
}

// TestTypes goes through all types of volumes that Kubernetes has: a rule for one matches that one and no other.
func TestTypes(t *testing.T) {
	inPod, behind := sources[corev1.VolumeSource](), sources[corev1.PersistentVolumeSource]()
	names := map[string]bool{}
	for name := range inPod {
		names[name] = true
	}
	for name := range behind {
		names[name] = true
	}
	var refused []string
	for name := range names {
		rules, err := parse(t, volumerule.KeyRules, "rules: [{name: r, action: include, volumeTypes: ["+name+"]}]")
		if err != nil {
			refused = append(refused, name)
			continue
		}
		for other, source := range inPod {
			v := scratch()
			v.Volume = &corev1.Volume{Name: "data", VolumeSource: source}
			if _, _, got := rules.Match(v); got != (other == name) {
				t.Errorf("a rule for %s matches a pod's volume of type %s: %t", name, other, got)
			}
		}
		for other, source := range behind {
			v := claimed()
			v.PV.Spec.PersistentVolumeSource = source
			want := other == name || name == volumerule.TypeClaim
			if _, _, got := rules.Match(v); got != want {
				t.Errorf("a rule for %s matches a claim with a volume of type %s: %t", name, other, got)
			}
		}
	}
	slices.Sort(refused)
	want := []string{
		"configMap", "downwardAPI", "flocker", "gitRepo", "hostPath", "image", "photonPersistentDisk", "projected",
		"quobyte", "scaleIO", "secret", "storageos",
	}
	if diff := cmp.Diff(want, refused); diff != "" {
		t.Errorf("types that no rule can name differ (-want +got):\n%s", diff)
	}
}
