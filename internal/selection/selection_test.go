// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package selection

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
)

// taken stands for the reason of a volume that is taken.
const taken Reason = ""

// outcome is what a test expects of one decision.
type outcome struct {
	how      How
	reason   Reason
	severity Severity
	names    []string // what the message names beside pod and volume
}

func byName(reason Reason, severity Severity, names ...string) outcome {
	return outcome{HowAnnotation, reason, severity, names}
}

type selectionCase struct {
	changes []change
	volume  string
	want    outcome
	left    bool // LeftToVelero
}

var kindCases = map[string]selectionCase{
	"a claim is taken by name":              {[]change{named("data"), assumed}, "data", byName(taken, SeverityInfo), false},
	"an emptyDir is taken by name":          {[]change{named("cache")}, "cache", byName(taken, SeverityInfo), false},
	"an emptyDir in memory is taken too":    {[]change{named("memory")}, "memory", byName(taken, SeverityInfo), false},
	"an ephemeral volume is taken":          {[]change{named("scratch")}, "scratch", byName(taken, SeverityInfo), false},
	"an inline nfs volume is taken":         {[]change{named("share")}, "share", byName(taken, SeverityInfo), false},
	"a claim labeled earlier is taken":      {[]change{named("data"), label("data-db-0")}, "data", byName(taken, SeverityInfo), false},
	"hostPath is not":                       {[]change{named("logs")}, "logs", byName(ReasonHostPath, SeverityWarning, "hostPath", "local"), false},
	"hostPath behind a claim is not":        {[]change{named("disk"), assumed}, "disk", byName(ReasonHostPath, SeverityWarning, "pv-disk-db-0", "disk-db-0", "local"), false},
	"a block volume is not":                 {[]change{named("raw"), assumed}, "raw", byName(ReasonBlockVolume, SeverityWarning, "block", "snapshot"), false},
	"a secret is not":                       {[]change{named("keys")}, "keys", byName(ReasonAPIContent, SeverityWarning, "API"), false},
	"a configMap is not":                    {[]change{named("settings")}, "settings", byName(ReasonAPIContent, SeverityWarning), false},
	"a projected volume is not":             {[]change{named("all")}, "all", byName(ReasonAPIContent, SeverityWarning), false},
	"a downwardAPI volume is not":           {[]change{named("about")}, "about", byName(ReasonAPIContent, SeverityWarning), false},
	"default-token is not":                  {[]change{named("default-token-x")}, "default-token-x", byName(ReasonServiceAccountToken, SeverityWarning, "another name"), false},
	"what nobody names is not asked for":    {[]change{named("cache")}, "data", outcome{"", ReasonNotAsked, SeverityInfo, nil}, false},
	"excludes do not count without default": {[]change{named("cache"), excluded("cache")}, "cache", byName(taken, SeverityInfo), false},
	"by default a claim is taken":           {[]change{byDefault, assumed}, "data", outcome{HowDefault, taken, SeverityInfo, nil}, false},
	"by default an emptyDir is taken":       {[]change{byDefault}, "cache", outcome{HowDefault, taken, SeverityInfo, nil}, false},
	"by default memory is taken":            {[]change{byDefault}, "memory", outcome{HowDefault, taken, SeverityInfo, nil}, false},
	"by default hostPath is passed over":    {[]change{byDefault}, "logs", outcome{"", ReasonHostPath, SeverityInfo, nil}, false},
	"by default a secret is passed over":    {[]change{byDefault}, "keys", outcome{"", ReasonAPIContent, SeverityInfo, nil}, false},
	"by default a block volume warns":       {[]change{byDefault, assumed}, "raw", outcome{HowDefault, ReasonBlockVolume, SeverityWarning, nil}, false},
	"by default a hostPath claim warns":     {[]change{byDefault, assumed}, "disk", outcome{HowDefault, ReasonHostPath, SeverityWarning, nil}, false},
	"by default excludes count":             {[]change{byDefault, excluded("x,data")}, "data", outcome{"", ReasonExcluded, SeverityInfo, []string{"backup-volumes-excludes"}}, false},
	"excluded goes before named":            {[]change{byDefault, named("cache"), excluded("cache ")}, "cache", outcome{"", ReasonExcluded, SeverityInfo, nil}, false},
	"named with default warns":              {[]change{byDefault, named("keys")}, "keys", byName(ReasonAPIContent, SeverityWarning), false},
	"no claims, no data of theirs":          {[]change{named("data"), claimsExcluded}, "data", byName(ReasonClaimsExcluded, SeverityWarning, "persistentvolumeclaims"), false},
	"no claims by default is no warning":    {[]change{byDefault, claimsExcluded}, "data", outcome{HowDefault, ReasonClaimsExcluded, SeverityInfo, nil}, false},
}

func leftOutOfBackups(c *corev1.PersistentVolumeClaim) {
	c.Labels = map[string]string{contract.LabelExcludeFromBackup: "true"}
}

func readOnlyInline(p *corev1.Pod) {
	for i := range p.Spec.Volumes {
		if p.Spec.Volumes[i].Name == "inline" {
			p.Spec.Volumes[i].CSI = &corev1.CSIVolumeSource{Driver: "one.csi", ReadOnly: new(true)}
		}
	}
}

func static(p *corev1.Pod) { p.Annotations[corev1.MirrorPodAnnotationKey] = "digest" }

func image(p *corev1.Pod) {
	p.Spec.Volumes[0] = corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{Image: &corev1.ImageVolumeSource{}}}
}

var stateCases = map[string]selectionCase{
	"nothing mounts the volume":         {[]change{named("unmounted")}, "unmounted", byName(ReasonNotMounted, SeverityWarning, "no container mounts it"), false},
	"unmounted by default is no matter": {[]change{byDefault}, "unmounted", outcome{HowDefault, ReasonNotMounted, SeverityInfo, nil}, false},
	"an init container's mount counts": {[]change{named("unmounted"), pod(func(p *corev1.Pod) {
		p.Spec.InitContainers = []corev1.Container{{VolumeMounts: []corev1.VolumeMount{{Name: "unmounted"}}}}
	})}, "unmounted", byName(taken, SeverityInfo), false},
	"an ephemeral container's does too": {[]change{named("unmounted"), pod(func(p *corev1.Pod) {
		debug := corev1.EphemeralContainerCommon{VolumeMounts: []corev1.VolumeMount{{Name: "unmounted"}}}
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: debug}}
	})}, "unmounted", byName(taken, SeverityInfo), false},
	"the pod waits": {
		[]change{named("cache"), pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending })},
		"cache", byName(ReasonPodNotRunning, SeverityWarning, "Pending"), false,
	},
	"the pod is done": {
		[]change{named("cache"), pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })},
		"cache", byName(ReasonPodNotRunning, SeverityWarning, "Succeeded"), false,
	},
	"the pod failed": {
		[]change{named("cache"), pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed })},
		"cache", byName(ReasonPodNotRunning, SeverityWarning, "Failed"), false,
	},
	"a done pod's emptyDir is no matter by default": {
		[]change{byDefault, pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })},
		"cache",
		outcome{HowDefault, ReasonPodNotRunning, SeverityInfo, nil},
		false,
	},
	"a done pod's claim is": {
		[]change{byDefault, assumed, pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })},
		"data",
		outcome{HowDefault, ReasonPodNotRunning, SeverityWarning, []string{"Succeeded"}},
		false,
	},
	"the pod is being deleted": {
		[]change{named("cache"), pod(func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} })},
		"cache", byName(ReasonPodNotRunning, SeverityWarning, "deleted"), false,
	},
	"the pod is on no node": {
		[]change{named("cache"), pod(func(p *corev1.Pod) { p.Spec.NodeName = "" })},
		"cache", byName(ReasonNoNode, SeverityWarning, "spec.nodeName"), false,
	},
	"the pod is made for Windows": {
		[]change{named("cache"), pod(func(p *corev1.Pod) { p.Spec.OS = &corev1.PodOS{Name: corev1.Windows} })},
		"cache", byName(ReasonWindows, SeverityWarning, "Windows", "node-1"), false,
	},
	"the node runs Windows": {
		[]change{named("cache"), func(_ *testing.T, in *Input) { in.NodeOS = "windows" }},
		"cache", byName(ReasonWindows, SeverityWarning, "Windows"), false,
	},
	"the claim is not there": {
		[]change{named("data"), nodeAgent, func(_ *testing.T, in *Input) { delete(in.Claims, "data-db-0") }},
		"data", byName(ReasonClaimNotFound, SeverityError, "data-db-0", "whole pod"), false,
	},
	"the claim is to be left out, and its volume is named": {
		[]change{named("data"), assumed, claim("data-db-0", leftOutOfBackups)}, "data", byName(taken, SeverityInfo), false,
	},
	"the claim is to be left out, and a policy asks for it": {
		[]change{withPolicies(entryRestic + "{storageClass: [gold]}\n"), claim("data-db-0", leftOutOfBackups)},
		"data",
		outcome{HowPolicy, taken, SeverityInfo, nil},
		false,
	},
	"the claim is to be left out, and all are taken by default": {
		[]change{byDefault, assumed, claim("data-db-0", leftOutOfBackups)},
		"data",
		outcome{HowDefault, ReasonExcluded, SeverityInfo, []string{contract.LabelExcludeFromBackup}},
		false,
	},
	"a driver fills it": {
		[]change{named("inline"), nodeAgent, pod(readOnlyInline)}, "inline", byName(ReasonDriverContent, SeverityWarning, "CSI driver"), false,
	},
	"a driver fills it, and all volumes are taken by default": {
		[]change{byDefault, nodeAgent, pod(readOnlyInline)}, "inline", outcome{HowDefault, ReasonDriverContent, SeverityInfo, nil}, false,
	},
	"a driver fills it, and Velero wants it": {
		[]change{byDefault, pod(readOnlyInline)},
		"inline",
		outcome{HowDefault, ReasonNoPolicy, SeverityError, []string{"{csi: {driver: one.csi}}", "{type: skip}"}},
		false,
	},
	"the kubelet runs the pod from a file": {
		[]change{named("cache"), pod(static)}, "cache", byName(ReasonStaticPod, SeverityWarning, "node-1"), false,
	},
	"and all volumes are taken by default": {
		[]change{byDefault, pod(static)}, "cache", outcome{HowDefault, ReasonStaticPod, SeverityInfo, nil}, false,
	},
	"the claim waits": {
		[]change{named("data"), assumed, claim("data-db-0", func(c *corev1.PersistentVolumeClaim) { c.Status.Phase = corev1.ClaimPending })},
		"data", byName(ReasonClaimNotBound, SeverityWarning, "data-db-0", "Pending", "kubectl"), false,
	},
	"the volume is not there": {
		[]change{named("data"), assumed, func(_ *testing.T, in *Input) { delete(in.Volumes, "pv-data-db-0") }},
		"data", byName(ReasonVolumeNotFound, SeverityWarning, "pv-data-db-0"), false,
	},
	"an ephemeral volume's claim is not there": {
		[]change{named("scratch"), func(_ *testing.T, in *Input) { delete(in.Claims, "db-0-scratch") }},
		"scratch", byName(ReasonClaimNotFound, SeverityWarning, "db-0-scratch"), false,
	},
	"the volume that lacks a mode is a device": {[]change{named("data"), assumed, pod(func(p *corev1.Pod) {
		p.Spec.Containers[0].VolumeDevices = append(p.Spec.Containers[0].VolumeDevices, corev1.VolumeDevice{Name: "data"})
	})}, "data", byName(ReasonBlockVolume, SeverityWarning), false},
	"only the volume says that it is a device": {[]change{named("data"), assumed, func(_ *testing.T, in *Input) {
		in.Volumes["pv-data-db-0"].Spec.VolumeMode = in.Claims["raw-db-0"].Spec.VolumeMode
	}}, "data", byName(ReasonBlockVolume, SeverityWarning), false},
	"a bound claim names no volume": {
		[]change{named("data"), assumed, claim("data-db-0", func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "" })},
		"data", byName(ReasonClaimNotBound, SeverityWarning), false,
	},
	"a claim that lost its volume has none": {
		[]change{named("disk"), assumed, claim("disk-db-0", func(c *corev1.PersistentVolumeClaim) { c.Status.Phase = corev1.ClaimLost })},
		"disk", byName(ReasonClaimNotBound, SeverityWarning, "Lost"), false,
	},
	"an ephemeral volume with an entry of its own": {
		[]change{withPolicies("- conditions: {volumeTypes: [ephemeral]}\n" +
			"  action: {type: custom, parameters: {uploader: restic}}\n- action: {type: skip}\n")},
		"scratch",
		outcome{HowPolicy, taken, SeverityInfo, nil},
		false,
	},
	"an image is never taken": {[]change{named("data"), nodeAgent, pod(image)}, "data", byName(ReasonImageVolume, SeverityWarning, "registry"), false},
	"an image by default, with the node-agent": {
		[]change{byDefault, nodeAgent, pod(image)},
		"data",
		outcome{HowDefault, ReasonImageVolume, SeverityInfo, nil},
		false,
	},
}

var policyCases = map[string]selectionCase{
	"skip goes before the annotation":      {[]change{named("data"), withPolicies("- conditions: {storageClass: [gold]}\n  action: {type: skip}\n" + base)}, "data", byName(ReasonPolicy, SeverityWarning, "skip"), false},
	"skip behind the label entry does too": {[]change{named("data"), assumed, label("data-db-0"), withPolicies(base + "- conditions: {storageClass: [gold]}\n  action: {type: skip}\n")}, "data", byName(ReasonPolicy, SeverityWarning, "skip"), false},
	"skip by default is no warning":        {[]change{byDefault, withPolicies("- action: {type: skip}\n")}, "data", outcome{HowDefault, ReasonPolicy, SeverityInfo, nil}, false},
	"snapshot leaves it to Velero":         {[]change{named("data"), assumed, withPolicies(base + "- conditions: {storageClass: [gold]}\n  action: {type: snapshot}\n")}, "data", byName(ReasonPolicy, SeverityWarning, "snapshot", "uploader: restic"), true},
	"another uploader is another's":        {[]change{named("data"), assumed, withPolicies(base + "- action: {type: custom, parameters: {uploader: other}}\n")}, "data", byName(ReasonOtherUploader, SeverityWarning, "uploader: other"), false},
	"custom without parameters is no bar":  {[]change{named("inline"), withPolicies("- action: {type: custom}\n")}, "inline", byName(taken, SeverityInfo), false},
	"custom without parameters is no wish": {[]change{withPolicies("- action: {type: custom}\n")}, "data", outcome{"", ReasonNotAsked, SeverityInfo, nil}, false},
	"other parameters are no wish":         {[]change{withPolicies("- action: {type: custom, parameters: {a: b}}\n")}, "data", outcome{"", ReasonNotAsked, SeverityInfo, nil}, false},
	"our uploader is a wish":               {[]change{withPolicies(entryRestic + "{storageClass: [gold]}\n")}, "data", outcome{HowPolicy, taken, SeverityInfo, nil}, false},
	"our uploader goes before excludes":    {[]change{byDefault, excluded("data"), withPolicies(entryRestic + "{storageClass: [gold]}\n")}, "data", outcome{HowPolicy, taken, SeverityInfo, nil}, false},
	"our uploader on a labeled claim":      {[]change{label("data-db-0"), withPolicies(base + entryRestic + "{storageClass: [gold]}\n")}, "data", outcome{HowPolicy, taken, SeverityInfo, nil}, false},
	"our uploader by our label":            {[]change{label("data-db-0"), withPolicies(entryRestic + "{pvcLabels: {restic.velero.io/backup: \"true\"}}\n")}, "data", outcome{HowPolicy, taken, SeverityInfo, nil}, false},
	"our uploader cannot force hostPath":   {[]change{withPolicies(entryRestic + "{volumeTypes: [hostPath]}\n")}, "logs", outcome{HowPolicy, ReasonHostPath, SeverityWarning, nil}, false},
	"our uploader behind an ephemeral":     {[]change{withPolicies(base + entryRestic + "{storageClass: [gold]}\n")}, "scratch", outcome{HowPolicy, taken, SeverityInfo, nil}, false},
	"our uploader by driver":               {[]change{withPolicies(entryRestic + "{csi: {driver: one.csi}}\n")}, "inline", outcome{HowPolicy, taken, SeverityInfo, nil}, false},
	"fs-backup nobody asked us for":        {[]change{withPolicies("- action: {type: fs-backup}\n"), nodeAgent}, "cache", outcome{"", ReasonNotAsked, SeverityInfo, nil}, true},
	"fs-backup without a node-agent":       {[]change{withPolicies("- action: {type: fs-backup}\n")}, "cache", outcome{"", ReasonNoPolicy, SeverityError, []string{"fs-backup"}}, false},
	"fs-backup of hostPath behind a claim": {[]change{withPolicies("- action: {type: fs-backup}\n"), nodeAgent}, "disk", outcome{"", ReasonHostPath, SeverityInfo, []string{"pv-disk-db-0"}}, false},
	"fs-backup of a block volume":          {[]change{withPolicies("- action: {type: fs-backup}\n"), nodeAgent}, "raw", outcome{"", ReasonBlockVolume, SeverityInfo, nil}, false},
	"fs-backup of what nothing mounts":     {[]change{withPolicies("- action: {type: fs-backup}\n"), nodeAgent}, "unmounted", outcome{"", ReasonNotMounted, SeverityInfo, nil}, false},
	"fs-backup of what an init container mounts": {[]change{withPolicies("- action: {type: fs-backup}\n"), nodeAgent, pod(func(p *corev1.Pod) {
		p.Spec.InitContainers = []corev1.Container{{VolumeMounts: []corev1.VolumeMount{{Name: "unmounted"}}}}
	})}, "unmounted", outcome{"", ReasonNotMounted, SeverityInfo, nil}, false},
	"a claim in wait that nobody asks for": {[]change{unbound}, "waiting", outcome{"", ReasonClaimNotBound, SeverityError, []string{"whole pod", "pvcPhase"}}, false},
	"a lost claim that nobody asks for":    {[]change{unbound}, "lost", outcome{"", ReasonClaimNotBound, SeverityError, []string{"whole pod", "pvcPhase"}}, false},
	"a claim that is gone":                 {[]change{unbound}, "gone", outcome{"", ReasonClaimNotFound, SeverityError, []string{"whole pod"}}, false},
	"a claim in wait, and its entry":       {[]change{unbound, withPolicies(base + entryPhase)}, "waiting", outcome{"", ReasonNotAsked, SeverityInfo, nil}, false},
	"a lost claim, and its entry":          {[]change{unbound, withPolicies(base + entryPhase), named("lost")}, "lost", byName(ReasonClaimNotBound, SeverityWarning), false},
	"a claim in wait, and no policies":     {[]change{unbound, noPolicies}, "waiting", outcome{"", ReasonNotAsked, SeverityInfo, nil}, false},
	"a claim in wait of a pod in wait": {
		[]change{unbound, pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending })},
		"waiting",
		outcome{"", ReasonClaimNotBound, SeverityError, []string{"whole pod"}},
		false,
	},
}

var conflictCases = map[string]selectionCase{
	"no policies, with the node-agent": {
		[]change{named("data"), noPolicies, nodeAgent},
		"data",
		byName(ReasonLeftToVelero, SeverityWarning, basePolicy, "--resource-policies-configmap", "pvcLabels"), true,
	},
	"no policies, without it": {
		[]change{named("data"), noPolicies},
		"data",
		byName(ReasonNoPolicy, SeverityError, basePolicy, "node-1", "whole pod"), false,
	},
	"no policies by default, with it": {
		[]change{byDefault, noPolicies, nodeAgent},
		"cache",
		outcome{HowDefault, ReasonLeftToVelero, SeverityWarning, []string{"volumeTypes: [emptyDir]"}},
		true,
	},
	"no policies by default, without it": {
		[]change{byDefault, noPolicies},
		"cache",
		outcome{HowDefault, ReasonNoPolicy, SeverityError, nil},
		false,
	},
	"an inline csi volume needs its driver's entry": {
		[]change{named("inline"), nodeAgent},
		"inline",
		byName(ReasonLeftToVelero, SeverityWarning, "csi: {driver: one.csi}", "uploader: restic"), true,
	},
	"a claim without its label": {
		[]change{named("data")},
		"data",
		byName(ReasonNoPolicy, SeverityError, "kubectl -n app label pvc data-db-0 restic.velero.io/backup=true"), false,
	},
	"an entry for fs-backup": {
		[]change{named("cache"), nodeAgent, withPolicies("- action: {type: fs-backup}\n" + base)},
		"cache",
		byName(ReasonLeftToVelero, SeverityWarning, "fs-backup", "uploader: restic"), true,
	},
	"an entry for fs-backup behind the label's": {
		[]change{named("data"), assumed, withPolicies(base + "- action: {type: fs-backup}\n")},
		"data",
		byName(taken, SeverityInfo), false,
	},
	"a block volume costs the pod too": {[]change{named("raw"), noPolicies}, "raw", byName(ReasonNoPolicy, SeverityError), false},
	"an image costs the pod by default": {
		[]change{byDefault, pod(image)},
		"data",
		outcome{HowDefault, ReasonNoPolicy, SeverityError, []string{"backup-volumes-excludes"}},
		false,
	},
	"a named image costs the pod": {
		[]change{named("data"), pod(image)},
		"data",
		byName(ReasonNoPolicy, SeverityError, "take it out"), false,
	},
	"a pod that does not run costs nothing": {
		[]change{named("data"), noPolicies, pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending })},
		"data",
		byName(ReasonPodNotRunning, SeverityWarning, "Pending"), false,
	},
	"Velero does not see an excluded name with a space": {
		[]change{byDefault, excluded("x, data")},
		"data",
		outcome{"", ReasonNoPolicy, SeverityError, []string{"without space"}},
		false,
	},
	"an entry for fs-backup goes before excludes": {
		[]change{byDefault, nodeAgent, excluded("cache"), withPolicies("- action: {type: fs-backup}\n")},
		"cache",
		outcome{"", ReasonExcluded, SeverityInfo, nil},
		true,
	},
	"nor does its node-agent": {
		[]change{byDefault, nodeAgent, excluded("x, data")},
		"data",
		outcome{"", ReasonLeftToVelero, SeverityWarning, []string{"without space"}},
		true,
	},
	"Velero does not see a name with a space": {[]change{named("data, inline"), assumed}, "inline", byName(taken, SeverityInfo), false},
}

func TestDecide(t *testing.T) {
	for _, cases := range []map[string]selectionCase{kindCases, stateCases, policyCases, conflictCases} {
		for sentence, tc := range cases {
			t.Run(sentence, func(t *testing.T) { checkCase(t, tc) })
		}
	}
}

func checkCase(t *testing.T, tc selectionCase) {
	t.Helper()
	in := inputWith(t, tc.changes)
	for _, d := range Decide(in) {
		if d.Volume != tc.volume {
			continue
		}
		if d.How != tc.want.how || d.Asked != (d.How != "") || d.Reason != tc.want.reason || d.Severity() != tc.want.severity {
			t.Errorf("got how %q, asked %v, reason %q, severity %s: %s", d.How, d.Asked, d.Reason, d.Severity(), d.Message)
		}
		if d.Take != (d.Reason == taken) || d.Take != (d.Message == "") || d.LeftToVelero != tc.left {
			t.Errorf("got take %v, left to Velero %v, message %q", d.Take, d.LeftToVelero, d.Message)
		}
		for _, name := range append(tc.want.names, d.Volume, in.Pod.Namespace+"/"+in.Pod.Name) {
			if !d.Take && !strings.Contains(d.Message, name) {
				t.Errorf("the message does not name %q: %s", name, d.Message)
			}
		}
		return
	}
	t.Fatalf("no decision about volume %s", tc.volume)
}

func TestDecideKeepsTheOrder(t *testing.T) {
	in := inputWith(t, []change{named(" gone,cache,,data , gone, lost"), assumed})
	var got []string
	for _, d := range Decide(in) {
		got = append(got, d.Volume)
		if (d.Volume == "gone" || d.Volume == "lost") && (d.Reason != ReasonUnknownVolume || d.Severity() != SeverityWarning ||
			!strings.Contains(d.Message, "app/db-0") || !strings.Contains(d.Message, "backup-volumes")) {
			t.Errorf("%s: %+v", d.Volume, d)
		}
	}
	var want []string
	for _, v := range in.Pod.Spec.Volumes {
		want = append(want, v.Name)
	}
	if diff := cmp.Diff(append(want, "gone", "lost"), got); diff != "" {
		t.Error(diff)
	}
}

func TestDecideTellsOfAnEmptyAnnotation(t *testing.T) {
	for sentence, tc := range map[string]struct {
		changes []change
		told    bool
	}{
		"empty":                  {[]change{named("")}, true},
		"only commas and spaces": {[]change{named(" , ,,\t")}, true},
		"not there":              {nil, false},
		"empty excludes":         {[]change{excluded("")}, false},
		"empty, but by default":  {[]change{named(""), byDefault}, false},
		"with one name":          {[]change{named(",cache")}, false},
	} {
		t.Run(sentence, func(t *testing.T) {
			decisions := Decide(inputWith(t, tc.changes))
			last := decisions[len(decisions)-1]
			if told := last.Reason == ReasonEmptyAnnotation; told != tc.told {
				t.Fatalf("the last decision is %+v", last)
			}
			if tc.told && (last.Volume != "" || last.Severity() != SeverityWarning || !strings.Contains(last.Message, "app/db-0")) {
				t.Errorf("got %+v", last)
			}
		})
	}
}

func TestDecideTellsOfUnknownExcludes(t *testing.T) {
	in := inputWith(t, []change{byDefault, named("lost"), excluded("gone,lost")})
	decisions := Decide(in)
	if extra := len(decisions) - len(in.Pod.Spec.Volumes); extra != 2 {
		t.Fatalf("%d decisions are not about volumes of the pod, want one for each name", extra)
	}
	last := decisions[len(decisions)-1]
	if last.Volume != "gone" || last.Reason != ReasonUnknownVolume || last.Asked || last.Severity() != SeverityInfo {
		t.Errorf("got %+v", last)
	}
}

func TestDecideGivesClaimAndVolume(t *testing.T) {
	in := inputWith(t, []change{named("data,scratch"), assumed})
	for _, d := range Decide(in) {
		claim := map[string]string{"data": "data-db-0", "scratch": "db-0-scratch"}[d.Volume]
		if claim != "" && (d.Claim != in.Claims[claim] || d.PV != in.Volumes["pv-"+claim]) {
			t.Errorf("%s: got claim %v, volume %v", d.Volume, d.Claim, d.PV)
		}
		if d.Volume == "cache" && (d.Claim != nil || d.PV != nil) {
			t.Errorf("%s: got claim %v, volume %v", d.Volume, d.Claim, d.PV)
		}
	}
}

func TestClaimsToLabelAndRelease(t *testing.T) {
	gold := "{storageClass: [gold]}\n"
	for sentence, tc := range map[string]struct {
		changes        []change
		label, release []string
	}{
		"claims that are named":          {[]change{named("data,cache")}, []string{"data-db-0"}, nil},
		"also what cannot be taken":      {[]change{named("raw, disk")}, []string{"disk-db-0", "raw-db-0"}, nil},
		"an ephemeral volume's claim":    {[]change{named("scratch")}, []string{"db-0-scratch"}, nil},
		"all by default":                 {[]change{byDefault, excluded("disk,raw")}, []string{"data-db-0", "db-0-scratch"}, nil},
		"those that have it keep it":     {[]change{named("data"), label("data-db-0")}, []string{"data-db-0"}, nil},
		"nobody asks any more":           {[]change{named("cache"), label("data-db-0")}, nil, []string{"data-db-0"}},
		"two volumes share a claim":      {[]change{named("data,again"), pod(func(p *corev1.Pod) { p.Spec.Volumes = append(p.Spec.Volumes, claimVolume("again", "data-db-0")) })}, []string{"data-db-0"}, nil},
		"one volume of two asks":         {[]change{named("again"), label("data-db-0"), pod(func(p *corev1.Pod) { p.Spec.Volumes = append(p.Spec.Volumes, claimVolume("again", "data-db-0")) })}, []string{"data-db-0"}, nil},
		"no policy knows the label":      {[]change{named("data"), withPolicies(entryTypes)}, nil, nil},
		"there are no policies":          {[]change{named("data"), noPolicies}, nil, nil},
		"a policy selects already":       {[]change{withPolicies(entryRestic + gold)}, nil, nil},
		"skip stands":                    {[]change{named("data"), label("data-db-0"), withPolicies(base + "- action: {type: skip}\n")}, nil, []string{"data-db-0"}},
		"snapshot stands":                {[]change{named("data"), label("data-db-0"), withPolicies(base + "- action: {type: snapshot}\n")}, nil, []string{"data-db-0"}},
		"fs-backup gives way":            {[]change{named("data"), withPolicies(base + "- action: {type: fs-backup}\n")}, []string{"data-db-0"}, nil},
		"fs-backup in front does not":    {[]change{named("data"), withPolicies("- action: {type: fs-backup}\n" + base)}, nil, nil},
		"claims are not in the backup":   {[]change{named("data"), claimsExcluded}, nil, nil},
		"the label as an operator's way": {[]change{label("data-db-0"), withPolicies(entryRestic + "{pvcLabels: {restic.velero.io/backup: \"true\"}}\n")}, []string{"data-db-0"}, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			in := inputWith(t, tc.changes)
			if diff := cmp.Diff(tc.label, claimNames(ClaimsToLabel(in))); diff != "" {
				t.Errorf("to label: %s", diff)
			}
			if diff := cmp.Diff(tc.release, claimNames(ClaimsToRelease(in))); diff != "" {
				t.Errorf("to release: %s", diff)
			}
		})
	}
}

func claimNames(claims []*corev1.PersistentVolumeClaim) []string {
	var names []string
	for _, c := range claims {
		names = append(names, c.Name)
	}
	return names
}

// TestDecideChangesNothing gives Decide objects out of a cache, in effect.
func TestDecideChangesNothing(t *testing.T) {
	changes := []change{byDefault, assumed, label("raw-db-0"), excluded("cache")}
	in := inputWith(t, changes)
	Decide(in)
	ClaimsToLabel(in)
	if diff := cmp.Diff(inputWith(t, changes), in, cmp.Comparer(func(a, b Input) bool {
		return cmp.Equal(a.Pod, b.Pod) && cmp.Equal(a.Claims, b.Claims) && cmp.Equal(a.Volumes, b.Volumes)
	})); diff != "" {
		t.Error(diff)
	}
}
