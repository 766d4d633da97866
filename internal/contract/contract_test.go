// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package contract

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vmware-tanzu/velero/pkg/label"
	"k8s.io/apimachinery/pkg/util/validation"
)

// TestLabelValue asks Velero, whose selectors must find our objects.
func TestLabelValue(t *testing.T) {
	for _, length := range []int{0, 1, 62, 63, 64, 253} {
		name := strings.Repeat("n", length)
		if got, want := LabelValue(name), label.GetValidName(name); got != want {
			t.Errorf("of %d bytes: %q, and Velero has %q", length, got, want)
		}
	}
}

// TestDerivedNames holds names that exist in clusters: another name would not be found again.
func TestDerivedNames(t *testing.T) {
	long := strings.Repeat("a", 231) + ".-" + strings.Repeat("b", 20)
	for what, test := range map[string]struct{ got, want string }{
		"PodVolumeBackup":  {BackupVolumeName("nightly", "backup-uid", "claim-uid"), "nightly-0f65c4832420476bda43"},
		"PodVolumeRestore": {RestoreVolumeName("back", "restore-uid", "app", "web", "data"), "back-3e9d5c44cc6e78df095e"},
		"ResticRepository": {RepositoryName("app", "default"), "app-default-4bcde4d6233a253fde21"},
		"a name at the limit": {
			BackupVolumeName(strings.Repeat("a", 232), "u", "s"), strings.Repeat("a", 232) + "-79c8078347bd82ca52d4",
		},
		"a name beyond the limit": {BackupVolumeName(long, "u", "s"), strings.Repeat("a", 231) + "-460629b9b7d3b9c61261"},
	} {
		if test.got != test.want {
			t.Errorf("%s is named %s, want %s", what, test.got, test.want)
		}
		if problems := validation.IsDNS1123Subdomain(test.got); problems != nil {
			t.Errorf("%s is named %s, which Kubernetes refuses: %v", what, test.got, problems)
		}
	}
	if RepositoryName("a-b", "c") == RepositoryName("a", "b-c") {
		t.Error("two repositories have one name")
	}
}

func TestPodNote(t *testing.T) {
	note := PodNote{BackupUID: "backup-uid", Volumes: []TakenVolume{
		{Volume: "data", PodVolumeBackup: "nightly-1", PodUID: "pod-uid", SourceVolume: "one", PVC: "claim"},
		{Volume: "cache", PodVolumeBackup: "nightly-2", PodUID: "pod-uid", SourceVolume: "cache"},
	}}
	// Backups that exist hold notes of this form.
	const text = `{"version":1,"backupUID":"backup-uid","volumes":[` +
		`{"volume":"data","podVolumeBackup":"nightly-1","podUID":"pod-uid","sourceVolume":"one","pvc":"claim"},` +
		`{"volume":"cache","podVolumeBackup":"nightly-2","podUID":"pod-uid","sourceVolume":"cache"}]}`
	got, err := WritePodNote(note)
	if diff := cmp.Diff(text, got); err != nil || diff != "" {
		t.Errorf("error %v, and the note differs (-want +got):\n%s", err, diff)
	}
	note.Version = 1
	read, err := ReadPodNote(text)
	if diff := cmp.Diff(note, read); err != nil || diff != "" {
		t.Errorf("error %v, and what is read differs (-want +got):\n%s", err, diff)
	}
	for sentence, value := range map[string]string{
		"no version":      `{"backupUID":"backup-uid"}`,
		"a later version": `{"version":2,"backupUID":"backup-uid"}`,
		"no JSON":         "data,cache",
	} {
		if _, err := ReadPodNote(value); err == nil || !strings.Contains(err.Error(), AnnotationTaken) {
			t.Errorf("a note with %s is read with error %v, want one that names the annotation", sentence, err)
		}
	}
}

// TestSnapshotTags holds the keys by which snapshots are found, those of Velero up to 1.16 included.
func TestSnapshotTags(t *testing.T) {
	tags := SnapshotTags{
		Backup: "nightly", BackupUID: "backup-uid", Pod: "web", PodUID: "pod-uid", Namespace: "app", Volume: "data",
		PVC: "claim", PVCUID: "claim-uid", PodVolumeBackup: "nightly-1",
	}
	want := map[string]string{
		"backup": "nightly", "backup-uid": "backup-uid", "pod": "web", "pod-uid": "pod-uid", "ns": "app",
		"volume": "data", "pvc": "claim", "pvc-uid": "claim-uid", "pod-volume-backup": "nightly-1",
	}
	if diff := cmp.Diff(want, tags.Map()); diff != "" {
		t.Errorf("tags differ (-want +got):\n%s", diff)
	}
	tags.PVC, tags.PVCUID = "", ""
	delete(want, "pvc")
	delete(want, "pvc-uid")
	if diff := cmp.Diff(want, tags.Map()); diff != "" {
		t.Errorf("tags of a volume without a claim differ (-want +got):\n%s", diff)
	}
	selector := map[string]string{"backup-uid": "backup-uid", "pod-uid": "pod-uid", "volume": "data"}
	if diff := cmp.Diff(selector, RestoreSelector("backup-uid", "pod-uid", "data")); diff != "" {
		t.Errorf("the selector of a restore differs (-want +got):\n%s", diff)
	}
}
