// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package volumepolicy

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func configMap(content string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "policies"},
		Data:       map[string]string{"policies.yaml": content},
	}
}

// entryWith returns a document with one good entry and one with these conditions.
func entryWith(conditions string) string {
	return "version: v1\nvolumePolicies:\n- action: {type: skip}\n  conditions: {capacity: \",1Gi\"}\n" +
		"- conditions: " + conditions + "\n  action: {type: custom}\n"
}

// refused are documents that Velero refuses, with what our message must name.
var refused = map[string]struct {
	content string
	names   []string
}{
	"an empty document":       {"", []string{"no YAML document"}},
	"text that is not YAML":   {"version: [v1", []string{"decoding"}},
	"a missing version":       {"volumePolicies: []", []string{"version", `"v1"`}},
	"a later version":         {"version: v2\nvolumePolicies: []", []string{"version", `"v2"`}},
	"a mapping for the list":  {"version: v1\nvolumePolicies: {action: {type: skip}}", []string{"volumePolicies"}},
	"a field beside action":   {"version: v1\nvolumePolicies: [{condition: {}, action: {type: skip}}]", []string{"volumePolicies[0]", "condition"}},
	"a field within action":   {"version: v1\nvolumePolicies: [{action: {type: skip, parameter: {}}}]", []string{"volumePolicies[0]", "action.parameter"}},
	"no action":               {"version: v1\nvolumePolicies: [{conditions: {}}]", []string{"volumePolicies[0]", "action.type"}},
	"an unknown action":       {"version: v1\nvolumePolicies: [{action: {type: restic}}]", []string{"volumePolicies[0]", "action.type", `"restic"`}},
	"text for an entry":       {"version: v1\nvolumePolicies: [skip]", []string{"volumePolicies[0]"}},
	"parameters as a list":    {"version: v1\nvolumePolicies: [{action: {type: custom, parameters: [a]}}]", []string{"volumePolicies[0]"}},
	"an unknown condition":    {entryWith("{podLabels: {a: b}}"), []string{"volumePolicies[1]", "line 5", "conditions.podLabels"}},
	"one quantity":            {entryWith("{capacity: 10Gi}"), []string{"conditions.capacity", "10Gi"}},
	"three quantities":        {entryWith(`{capacity: "1Gi,2Gi,3Gi"}`), []string{"conditions.capacity"}},
	"a bad quantity":          {entryWith(`{capacity: "1Gi,many"}`), []string{"conditions.capacity", "many"}},
	"bounds the wrong way":    {entryWith(`{capacity: "10Gi,1Gi"}`), []string{"conditions.capacity"}},
	"a negative upper bound":  {entryWith(`{capacity: ",-1Gi"}`), []string{"conditions.capacity"}},
	"one storage class":       {entryWith("{storageClass: gold}"), []string{"conditions.storageClass"}},
	"a number of classes":     {entryWith("{storageClass: {a: b}}"), []string{"conditions.storageClass"}},
	"an unknown field of nfs": {entryWith("{nfs: {host: a}}"), []string{"conditions.nfs", "host"}},
	"an unknown field of csi": {entryWith("{csi: {name: a}}"), []string{"conditions.csi", "name"}},
	"attributes alone":        {entryWith("{csi: {volumeAttributes: {a: b}}}"), []string{"conditions.csi", "driver"}},
	"empty attributes alone":  {entryWith("{csi: {volumeAttributes: {}}}"), []string{"conditions.csi", "driver"}},
	"one volume type":         {entryWith("{volumeTypes: nfs}"), []string{"conditions.volumeTypes"}},
	"a list of labels":        {entryWith("{pvcLabels: [a]}"), []string{"conditions.pvcLabels"}},
	"no labels":               {entryWith("{pvcLabels: null}"), []string{"conditions.pvcLabels"}},
	"a label that is a map":   {entryWith("{pvcLabels: {a: {b: c}}}"), []string{"conditions.pvcLabels"}},
	"a label with a number":   {entryWith("{pvcLabels: {1: a}}"), []string{"conditions.pvcLabels"}},
	"one phase":               {entryWith("{pvcPhase: Bound}"), []string{"conditions.pvcPhase"}},
	"a list of volume modes":  {entryWith("{pvcVolumeMode: [Block]}"), []string{"conditions.pvcVolumeMode"}},
	"no volume mode":          {entryWith("{pvcVolumeMode: null}"), []string{"conditions.pvcVolumeMode"}},
	"one access mode":         {entryWith("{pvcAccessModes: ReadWriteOnce}"), []string{"conditions.pvcAccessModes"}},
	"an access mode of 1":     {entryWith("{pvcAccessModes: [1]}"), []string{"conditions.pvcAccessModes", "element 0"}},
	"a condition twice":       {entryWith("{pvcPhase: [Bound], pvcPhase: [Lost]}"), []string{"volumePolicies[1]"}},
}

func TestParseRefuses(t *testing.T) {
	for sentence, tc := range refused {
		t.Run(sentence, func(t *testing.T) {
			_, err := Parse(configMap(tc.content))
			if err == nil {
				t.Fatal("Parse accepts it")
			}
			for _, name := range append(tc.names, "velero/policies") {
				if !strings.Contains(err.Error(), name) {
					t.Errorf("the message does not name %q: %v", name, err)
				}
			}
			if strings.Contains(err.Error(), "\n\n") {
				t.Errorf("the message has an empty line: %v", err)
			}
		})
	}
}

func TestParseRefusesConfigMapsOfAnotherShape(t *testing.T) {
	two := configMap("version: v1")
	two.Data["more.yaml"] = "version: v1"
	none := configMap("")
	none.Data = nil
	for sentence, tc := range map[string]struct {
		configMap *corev1.ConfigMap
		names     string
	}{
		"two keys":          {two, "more.yaml, policies.yaml"},
		"no key":            {none, "exactly one key"},
		"none there at all": {nil, "there is no ConfigMap"},
	} {
		t.Run(sentence, func(t *testing.T) {
			if _, err := Parse(tc.configMap); err == nil || !strings.Contains(err.Error(), tc.names) {
				t.Errorf("got error %v, want one that names %q", err, tc.names)
			}
		})
	}
}

func TestParseReadsPastSectionsOfALaterVelero(t *testing.T) {
	policies, err := Parse(configMap("version: v1\nfutureSection: [1]\nvolumePolicies: [{action: {type: skip}}]"))
	if err != nil {
		t.Fatal(err)
	}
	if action, found := policies.Match(Volume{PodVolume: &corev1.Volume{}}); !found || action.Type != ActionSkip {
		t.Errorf("got %v, %v, want skip", action, found)
	}
}

func TestMatchWithoutPolicyOrVolume(t *testing.T) {
	var none *Policies
	if action, found := none.Match(Volume{PodVolume: &corev1.Volume{}}); found {
		t.Errorf("no policies match with %v", action)
	}
	all, err := Parse(configMap("version: v1\nvolumePolicies: [{action: {type: skip}}]"))
	if err != nil {
		t.Fatal(err)
	}
	if action, found := all.Match(Volume{}); found {
		t.Errorf("nothing is matched with %v", action)
	}
}

func TestMergeLetsTheFirstWin(t *testing.T) {
	parse := func(content string) *Policies {
		t.Helper()
		policies, err := Parse(configMap(content))
		if err != nil {
			t.Fatal(err)
		}
		return policies
	}
	ofBackup := parse("version: v1\nvolumePolicies: [{conditions: {volumeTypes: [nfs]}, action: {type: skip}}]")
	ofCluster := parse("version: v1\nvolumePolicies: [{action: {type: custom}}]")
	merged := Merge(nil, ofBackup, ofCluster)
	nfs := Volume{PodVolume: &corev1.Volume{VolumeSource: corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}}}
	if action, _ := merged.Match(nfs); action.Type != ActionSkip {
		t.Errorf("the backup's policy gives way to %v", action)
	}
	if action, _ := merged.Match(Volume{PodVolume: &corev1.Volume{}}); action.Type != ActionCustom {
		t.Errorf("the cluster's policy gives way to %v", action)
	}
	if _, found := ofBackup.Match(Volume{PodVolume: &corev1.Volume{}}); found {
		t.Error("merging changed the first policies")
	}
	if Merge(nil, nil) != nil {
		t.Error("nothing merged is something")
	}
}

func TestForRestic(t *testing.T) {
	for sentence, tc := range map[string]struct {
		action        string
		restic, named bool
	}{
		"our uploader is ours":                {"{type: custom, parameters: {uploader: restic}}", true, true},
		"more parameters do not matter":       {"{type: custom, parameters: {uploader: restic, a: 1}}", true, true},
		"another uploader is not":             {"{type: custom, parameters: {uploader: kopia}}", false, true},
		"a list of uploaders is not":          {"{type: custom, parameters: {uploader: [restic]}}", false, true},
		"no parameters name nobody":           {"{type: custom}", false, false},
		"other parameters name nobody":        {"{type: custom, parameters: {a: b}}", false, false},
		"another action with it names nobody": {"{type: skip, parameters: {uploader: restic}}", false, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			policies, err := Parse(configMap("version: v1\nvolumePolicies: [{action: " + tc.action + "}]"))
			if err != nil {
				t.Fatal(err)
			}
			action, _ := policies.Match(Volume{PodVolume: &corev1.Volume{}})
			if _, named := action.Uploader(); named != tc.named || action.ForRestic() != tc.restic {
				t.Errorf("got ForRestic %v, named %v", action.ForRestic(), named)
			}
		})
	}
}
