// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package snapshotlist is the form in which a Job hands a repository's snapshots to whoever asked for them: lines in
// the log of its pod. It is read by people without credentials of the storage, and without restic.
//
// A log is shared: Kubernetes mixes what a container writes to its two streams, and cuts what grows too long. So each
// line of a list is a JSON object that says so, the last one counts the others, and Read takes no list for whole
// unless the count is right.
package snapshotlist

import "time"

// Snapshot is one snapshot of a repository. Fields that it does not have are empty: of those that describe the volume,
// all in a snapshot that somebody else than this project, or Velero <= 1.16, has made.
type Snapshot struct {
	// ID is restic's, 64 hexadecimal digits.
	ID string `json:"id"`
	// Time is when the backup of the volume began.
	Time time.Time `json:"time"`
	// Hostname is "velero" in snapshots for Velero.
	Hostname string `json:"hostname,omitempty"`
	// Backup and BackupUID are the Velero backup that the snapshot was made for.
	Backup    string `json:"backup,omitempty"`
	BackupUID string `json:"backupUID,omitempty"`
	// Namespace, Pod and PodUID are those of the pod whose volume it holds.
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	PodUID    string `json:"podUID,omitempty"`
	// Volume is the volume's name in the pod's spec, PVC and PVCUID are the claim behind it, if it is one.
	Volume string `json:"volume,omitempty"`
	PVC    string `json:"pvc,omitempty"`
	PVCUID string `json:"pvcUID,omitempty"`
	// Empty says that the volume had no file.
	Empty bool `json:"empty,omitempty"`
	// Cluster is the UID of namespace kube-system where the snapshot was made.
	Cluster string `json:"cluster,omitempty"`
	// Paths are what restic was told to back up; of a volume the folder that it was in, on the node.
	Paths []string `json:"paths,omitempty"`
	// Tags are those that are none of this project's, as they are.
	Tags []string `json:"tags,omitempty"`
	// Cut says that paths and tags were too long to be listed in full.
	Cut bool `json:"cut,omitempty"`
	// Size is nil for a snapshot by restic < 0.17, which does not know.
	Size *Size `json:"size,omitempty"`
}

// Size is how much a snapshot holds, as restic has counted when it was made.
type Size struct {
	// Files is how many files there are, and Bytes how much is in them.
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
	// BytesAdded is what of it was new to the repository, before compression, and BytesStored after it.
	BytesAdded  int64 `json:"bytesAdded"`
	BytesStored int64 `json:"bytesStored"`
}

const (
	// MaxLine bounds a line, in bytes: the container runtime splits longer ones (containerd v2.0,
	// internal/cri/config, DefaultMaxContainerLogLineSize, 16 KiB), and what the other stream writes meanwhile may
	// come between the parts.
	MaxLine = 15 << 10
	// MaxList bounds a list, in bytes with what the runtime puts before each line. The kubelet begins a new log at
	// 10 MiB (Kubernetes v1.36, pkg/kubelet/apis/config/v1beta1, containerLogMaxSize), and shows the newest one only.
	MaxList = 9 << 20
	// linePrefix is what the runtime puts before each line: time, stream and a tag (Kubernetes v1.36,
	// staging/src/k8s.io/cri-client/pkg/logs, the CRI format).
	linePrefix = len("2026-11-23T00:00:00.123456789+00:00 stdout F ")
)

// The values of message_type. They tell the lines of a list from any other JSON in the log.
const (
	typeSnapshot = "snapshot"
	typeEnd      = "end"
)

// snapshotLine is the line of a snapshot.
type snapshotLine struct {
	MessageType string `json:"message_type"`
	Snapshot
}

// endLine is the last line of a list.
type endLine struct {
	MessageType string `json:"message_type"`
	// Count is how many lines of snapshots came before.
	Count int `json:"count"`
	// LeftOut is how many snapshots there are besides.
	LeftOut int `json:"left_out,omitempty"`
	// Unreadable is how many restic could not read.
	Unreadable int `json:"unreadable,omitempty"`
}
