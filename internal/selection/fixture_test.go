// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package selection

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumepolicy"
	"github.com/velero-restic/velero-plugin-for-restic/internal/volumerule"
)

// The policies of tests. The base ones are those of examples/base.
const (
	entryLabel  = "- conditions: {pvcLabels: {restic.velero.io/backup: \"true\"}}\n  action: {type: custom}\n"
	entryTypes  = "- conditions: {volumeTypes: [emptyDir, ephemeral, nfs]}\n  action: {type: custom}\n"
	entryPhase  = "- conditions: {pvcPhase: [Pending, Lost]}\n  action: {type: custom}\n"
	entryRestic = "- action: {type: custom, parameters: {uploader: restic}}\n  conditions: "
	base        = entryLabel + entryTypes
)

func policiesConfigMap(entries string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "velero", Name: "policies"},
		Data:       map[string]string{"policies": "version: v1\nvolumePolicies:\n" + entries},
	}
}

func policies(t *testing.T, entries string) *volumepolicy.Policies {
	t.Helper()
	parsed, err := volumepolicy.Parse(policiesConfigMap(entries))
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// input returns a running pod with every kind of volume, all of them mounted but "unmounted" and the devices, with
// the base policies and without annotations.
func input(t *testing.T) Input {
	t.Helper()
	memory := &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}
	in := Input{
		Pod: &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "app", Name: "db-0", Annotations: map[string]string{}},
			Spec: corev1.PodSpec{NodeName: "node-1", Volumes: []corev1.Volume{
				claimVolume("data", "data-db-0"),
				{Name: "cache", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
				{Name: "memory", VolumeSource: corev1.VolumeSource{EmptyDir: memory}},
				{Name: "scratch", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}},
				{Name: "share", VolumeSource: corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{Server: "s", Path: "/"}}},
				{Name: "inline", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "one.csi"}}},
				{Name: "logs", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/var/log"}}},
				claimVolume("disk", "disk-db-0"),
				claimVolume("raw", "raw-db-0"),
				{Name: "unmounted", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
				{Name: "keys", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}}},
				{Name: "settings", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}}},
				{Name: "all", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}}},
				{Name: "about", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{}}},
				{Name: "default-token-x", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			}},
			Status: corev1.PodStatus{Phase: corev1.PodRunning},
		},
		Policies: policies(t, base),
		Claims:   map[string]*corev1.PersistentVolumeClaim{},
		Volumes:  map[string]*corev1.PersistentVolume{},
	}
	for _, claim := range []string{"data-db-0", "db-0-scratch", "disk-db-0", "raw-db-0"} {
		addClaim(in, claim)
	}
	in.Volumes["pv-disk-db-0"].Spec.HostPath = &corev1.HostPathVolumeSource{Path: "/disk"}
	block := corev1.PersistentVolumeBlock
	in.Claims["raw-db-0"].Spec.VolumeMode = &block
	container := corev1.Container{Name: "db", VolumeDevices: []corev1.VolumeDevice{{Name: "raw"}}}
	for _, volume := range in.Pod.Spec.Volumes {
		if volume.Name != "unmounted" && volume.Name != "raw" {
			container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: volume.Name})
		}
	}
	in.Pod.Spec.Containers = []corev1.Container{container}
	return in
}

func claimVolume(name, claim string) corev1.Volume {
	source := &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: source}}
}

// addClaim adds a claim that is bound to a PersistentVolume of class gold.
func addClaim(in Input, name string) {
	in.Claims[name] = &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: "app", Name: name},
		Spec:       corev1.PersistentVolumeClaimSpec{VolumeName: "pv-" + name},
		Status:     corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound},
	}
	in.Volumes["pv-"+name] = &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pv-" + name},
		Spec:       corev1.PersistentVolumeSpec{StorageClassName: "gold"},
	}
}

// change is one way in which a case departs from input.
type change func(*testing.T, *Input)

func named(value string) change {
	return func(_ *testing.T, in *Input) { in.Pod.Annotations[contract.AnnotationVolumesToBackup] = value }
}

func excluded(value string) change {
	return func(_ *testing.T, in *Input) { in.Pod.Annotations[contract.AnnotationVolumesToExclude] = value }
}

func byDefault(_ *testing.T, in *Input) { in.DefaultVolumes = true }

func nodeAgent(_ *testing.T, in *Input) { in.NodeAgent = true }

func assumed(_ *testing.T, in *Input) { in.AssumeClaimed = true }

func noPolicies(_ *testing.T, in *Input) { in.Policies = nil }

func claimsExcluded(_ *testing.T, in *Input) { in.ClaimsExcluded = true }

func withPolicies(entries string) change {
	return func(t *testing.T, in *Input) { in.Policies = policies(t, entries) }
}

func withRules(entries string) change {
	return func(t *testing.T, in *Input) {
		t.Helper()
		rules, err := volumerule.Parse(&corev1.ConfigMap{Data: map[string]string{volumerule.KeyRules: "rules:\n" + entries}})
		if err != nil {
			t.Fatal(err)
		}
		in.Rules = rules
	}
}

// byLeader has what the annotation names be written for the sake of a rule.
func byLeader(_ *testing.T, in *Input) {
	in.Pod.Annotations[contract.AnnotationVolumesByRule] = in.Pod.Annotations[contract.AnnotationVolumesToBackup]
}

func rulesInvalid(_ *testing.T, in *Input) { in.RulesInvalid = true }

func label(claims ...string) change {
	return func(_ *testing.T, in *Input) {
		for _, claim := range claims {
			in.Claims[claim].Labels = map[string]string{contract.LabelClaimed: labelTrue}
		}
	}
}

func pod(modify func(*corev1.Pod)) change {
	return func(_ *testing.T, in *Input) { modify(in.Pod) }
}

func claim(name string, modify func(*corev1.PersistentVolumeClaim)) change {
	return func(_ *testing.T, in *Input) { modify(in.Claims[name]) }
}

func inputWith(t *testing.T, changes []change) Input {
	t.Helper()
	in := input(t)
	for _, change := range changes {
		change(t, &in)
	}
	return in
}
