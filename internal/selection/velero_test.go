// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package selection

import (
	"fmt"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"
	velerov1 "github.com/vmware-tanzu/velero/pkg/apis/velero/v1"
	"github.com/vmware-tanzu/velero/pkg/plugin/utils/volumehelper"
	vhutil "github.com/vmware-tanzu/velero/pkg/util/volumehelper"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// The tests of this file go through every combination of these, and ask Velero's own code what its core does.
var (
	annotationValues = []string{"", "data", "data,cache,scratch,inline,logs,keys,lost,gone", " cache, data ,disk", "raw,scratch,share"}
	policyEntries    = []string{
		"", // no ConfigMap at all
		base,
		base + entryPhase,
		base + "- conditions: {storageClass: [gold]}\n  action: {type: snapshot}\n",
		base + entryRestic + "{storageClass: [gold]}\n",
		base + "- action: {type: fs-backup}\n",
		"- conditions: {volumeTypes: [emptyDir, ephemeral]}\n  action: {type: fs-backup}\n" + base,
		"- conditions: {storageClass: [gold]}\n  action: {type: skip}\n" + base,
		entryTypes + "- conditions: {storageClass: [gold]}\n  action: {type: custom, parameters: {uploader: other}}\n" + entryLabel,
	}
	ruleEntries = []string{
		"", // no rules
		"- {name: gold, action: include, storageClasses: [gold]}\n- {name: rest, action: exclude}\n",
		"- {name: gold, action: exclude, storageClasses: [gold]}\n- {name: rest, action: include}\n",
	}
)

// combination is one of them.
type combination struct {
	Input

	entries string
}

func combinations(t *testing.T) map[string]combination {
	t.Helper()
	all := map[string]combination{}
	for _, entries := range policyEntries {
		for _, value := range annotationValues {
			for _, rules := range ruleEntries {
				for bits := range 32 {
					c := combine(t, entries, value, bits)
					if rules != "" {
						withRules(rules)(t, &c.Input)
					}
					all[fmt.Sprintf("policies %q, volumes %q, rules %q, bits %b", entries, value, rules, bits)] = c
				}
			}
		}
	}
	return all
}

func combine(t *testing.T, entries, value string, bits int) combination {
	t.Helper()
	in := inputWith(t, []change{named(value), noPolicies, unbound})
	if in.DefaultVolumes = bits&1 > 0; in.DefaultVolumes {
		in = inputWith(t, []change{byDefault, excluded(value), noPolicies, unbound})
	}
	in.NodeAgent, in.AssumeClaimed = bits&2 > 0, bits&4 > 0
	if bits&8 > 0 {
		label("data-db-0", "raw-db-0", "db-0-scratch")(t, &in)
	}
	if bits&16 > 0 {
		byLeader(t, &in)
	}
	if entries != "" {
		in.Policies = policies(t, entries)
	}
	return combination{in, entries}
}

// unbound adds volumes with nothing behind their claims.
func unbound(_ *testing.T, in *Input) {
	for _, name := range []string{"waiting", "lost", "gone"} {
		in.Pod.Spec.Volumes = append(in.Pod.Spec.Volumes, claimVolume(name, name+"-db-0"))
		addClaim(*in, name+"-db-0")
		in.Pod.Spec.Containers[0].VolumeMounts = append(in.Pod.Spec.Containers[0].VolumeMounts,
			corev1.VolumeMount{Name: name})
	}
	in.Claims["waiting-db-0"].Status.Phase = corev1.ClaimPending
	in.Claims["waiting-db-0"].Spec.VolumeName = ""
	in.Claims["lost-db-0"].Status.Phase = corev1.ClaimLost
	delete(in.Claims, "gone-db-0")
}

// helper builds Velero's helper over a cluster that has what the input has.
func (c combination) helper(t *testing.T) vhutil.VolumeHelper {
	t.Helper()
	var objects []client.Object
	backup := velerov1.Backup{ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "backup"}}
	backup.Spec.DefaultVolumesToFsBackup = &c.DefaultVolumes
	if c.entries != "" {
		objects = append(objects, policiesConfigMap(c.entries))
		backup.Spec.ResourcePolicy = &corev1.TypedLocalObjectReference{Kind: "configmap", Name: "policies"}
	}
	for _, claim := range c.Claims {
		objects = append(objects, claim.DeepCopy())
	}
	for _, volume := range c.Volumes {
		objects = append(objects, volume.DeepCopy())
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	cluster := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
	helper, err := volumehelper.NewVolumeHelperWithCache(backup, cluster, log, nil)
	if err != nil {
		t.Fatal(err)
	}
	return helper
}

// labelClaims does to the claims what the plugin does, and says whether that changed any.
func (c combination) labelClaims() bool {
	label, release := ClaimsToLabel(c.Input), ClaimsToRelease(c.Input)
	changed := len(release) > 0
	for _, claim := range label {
		changed = changed || !labeled(claim)
		claim.Labels = map[string]string{contract.LabelClaimed: labelTrue}
	}
	for _, claim := range release {
		delete(claim.Labels, contract.LabelClaimed)
	}
	return changed
}

// TestDecideNeverMakesTwoCopies asks Velero about each volume, as the cluster is without and with the labels.
func TestDecideNeverMakesTwoCopies(t *testing.T) {
	for name, c := range combinations(t) {
		c.AssumeClaimed = false
		agreesWithVelero(t, name, c)
		c.labelClaims()
		agreesWithVelero(t, name+", labeled", c)
	}
}

func agreesWithVelero(t *testing.T, name string, c combination) {
	t.Helper()
	helper := c.helper(t)
	// What core wants and then passes over or fails with, see BackupPodVolumes.
	passed := map[string]Reason{
		"disk": ReasonHostPath, "raw": ReasonBlockVolume, "unmounted": ReasonNotMounted,
		"waiting": ReasonClaimNotBound, "lost": ReasonClaimNotBound, "gone": ReasonClaimNotFound,
	}
	for i, d := range Decide(c.Input)[:len(c.Pod.Spec.Volumes)] {
		core, err := helper.ShouldPerformFSBackup(c.Pod.Spec.Volumes[i], *c.Pod)
		if (err != nil || core && !c.NodeAgent) != d.CostsPod {
			t.Errorf("%s: %s costs the pod: %t, and Velero says %t, %v", name, d.Volume, d.CostsPod, core, err)
		}
		if err != nil {
			continue
		}
		if d.Take && core {
			t.Errorf("%s: %s is taken here and by Velero", name, d.Volume)
		}
		if (d.Reason == ReasonNoPolicy || d.Reason == ReasonLeftToVelero) && !core {
			t.Errorf("%s: %s is %s, and Velero leaves it alone", name, d.Volume, d.Reason)
		}
		if core && !d.CostsPod && !d.LeftToVelero && d.Reason != passed[d.Volume] {
			t.Errorf("%s: %s is %q, and Velero takes it", name, d.Volume, d.Reason)
		}
	}
}

// TestLabelsSettle holds that the plugin labels once, and that deciding ahead of the labels foresees what they do.
func TestLabelsSettle(t *testing.T) {
	for name, c := range combinations(t) {
		stale := len(ClaimsToRelease(c.Input)) > 0
		c.AssumeClaimed = true
		foreseen := Decide(c.Input)
		c.labelClaims()
		if c.labelClaims() {
			t.Errorf("%s: the labels change again", name)
		}
		c.AssumeClaimed = false
		if diff := cmp.Diff(foreseen, Decide(c.Input)); diff != "" && !stale {
			t.Errorf("%s: the labels change decisions: %s", name, diff)
		}
	}
}
