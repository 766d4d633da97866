// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package contract

import (
	"encoding/json"
	"fmt"
)

// podNoteVersion is the form of the note that this version writes. A reader refuses a newer one: it must not guess.
const podNoteVersion = 1

// PodNote is what the backup's copy of a pod says about its volumes. It is all that a restore needs, in a cluster
// that has never seen the backup's custom resources.
type PodNote struct {
	Version int `json:"version"`
	// BackupUID is the UID of the Velero backup that took the volumes.
	BackupUID string `json:"backupUID"`
	// Volumes were taken, or are being taken while the note is written.
	Volumes []TakenVolume `json:"volumes"`
}

// TakenVolume is one volume of a pod whose data went, or is going, into a repository.
type TakenVolume struct {
	// Volume is the name in the pod's spec.
	Volume string `json:"volume"`
	// PodVolumeBackup is the name of the custom resource that took it.
	PodVolumeBackup string `json:"podVolumeBackup"`
	// PodUID and SourceVolume are the pod and the volume name under which the snapshot is tagged. They differ from
	// the pod's own when another pod, which shares the claim, was the one that took it.
	PodUID       string `json:"podUID"`
	SourceVolume string `json:"sourceVolume"`
	// PVC is the name of the claim, empty for other volumes.
	PVC string `json:"pvc,omitempty"`
}

// WritePodNote returns the note as the value of AnnotationTaken.
func WritePodNote(note PodNote) (string, error) {
	note.Version = podNoteVersion
	content, err := json.Marshal(note)
	if err != nil {
		return "", fmt.Errorf("encoding annotation %s: %w", AnnotationTaken, err)
	}
	return string(content), nil
}

// ReadPodNote reads the value of AnnotationTaken. It fails on anything that is not a note of a known version; the
// error names the annotation.
func ReadPodNote(value string) (PodNote, error) {
	var note PodNote
	if err := json.Unmarshal([]byte(value), &note); err != nil {
		return PodNote{}, fmt.Errorf("decoding annotation %s: %w", AnnotationTaken, err)
	}
	if note.Version < 1 || note.Version > podNoteVersion {
		return PodNote{}, fmt.Errorf("annotation %s has version %d, this plugin reads up to %d: "+
			"restore with the version of the plugin that took the backup, or a newer one",
			AnnotationTaken, note.Version, podNoteVersion)
	}
	return note, nil
}
