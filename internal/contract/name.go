// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package contract

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

const (
	// labelValueMax is the longest value of a label, in bytes (Kubernetes: apimachinery/pkg/util/validation).
	labelValueMax = 63
	// objectNameMax is the longest name of an object that is a DNS subdomain, in bytes.
	objectNameMax = 253
	// digestLength is how many hexadecimal digits of a digest end a derived name: 80 bits.
	digestLength = 20
)

// LabelValue returns the value under which an object of this name is labeled: the name itself up to 63 bytes, else
// its first 57 bytes and six hexadecimal digits of its SHA-256, exactly as Velero shortens it
// (velero v1.18.3, pkg/label/label.go, GetValidName), so that a selector made by either side finds it.
func LabelValue(name string) string {
	if len(name) <= labelValueMax {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:labelValueMax-6] + hex.EncodeToString(sum[:])[:6]
}

// BackupVolumeName returns the name of the PodVolumeBackup for one volume in one backup. The same arguments give the
// same name, so that an Execute that Velero repeats finds its object again. Source identifies the data: the UID of
// the claim, so that pods which share a claim share its one PodVolumeBackup, or pod UID and volume for the rest.
func BackupVolumeName(backupName, backupUID, source string) string {
	return derivedName(backupName, backupUID, source)
}

// RestoreVolumeName returns the name of the PodVolumeRestore for one volume of one pod in one restore, the same for
// the same arguments. The namespace is the one restored into.
func RestoreVolumeName(restoreName, restoreUID, namespace, pod, volume string) string {
	return derivedName(restoreName, restoreUID, namespace, pod, volume)
}

// RepositoryName returns the name of the ResticRepository of a namespace in a backup storage location. The digest at
// its end keeps "a-b" in "c" apart from "a" in "b-c".
func RepositoryName(volumeNamespace, location string) string {
	return derivedName(volumeNamespace+"-"+location, volumeNamespace, location)
}

// derivedName joins a readable prefix and a digest of the parts that make it unique, within the length of a name.
func derivedName(prefix string, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{prefix}, parts...), "\x00")))
	digest := hex.EncodeToString(sum[:])[:digestLength]
	if room := objectNameMax - digestLength - 1; len(prefix) > room {
		prefix = strings.TrimRight(prefix[:room], "-.")
	}
	return prefix + "-" + digest
}
