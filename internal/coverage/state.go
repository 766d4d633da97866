// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package coverage evaluates for a PersistentVolumeClaim whether its data is protected: whether scheduled backups
// include it, by which method, and how these backups ended. It uses package selection, as the plugin does during a
// backup. It makes no API calls.
package coverage

import "time"

// Method is how the data of a claim is backed up.
type Method string

// The methods. The empty method means that nothing backs up the data.
const (
	// MethodRestic: restic backs up the files of the volume.
	MethodRestic Method = "restic"
	// MethodSnapshot: a CSI driver or a provider's plugin takes a snapshot of the volume.
	MethodSnapshot Method = "snapshot"
	// MethodNodeAgent: Velero's node-agent backs up the files of the volume.
	MethodNodeAgent Method = "node-agent"
)

// State is the protection of one claim at one time.
type State struct {
	// Namespace and Claim identify the claim.
	Namespace string `json:"namespace"`
	Claim     string `json:"claim"`
	// Protected is true if a Schedule includes the claim's data. If the method is restic, the last backup must also
	// have succeeded and must not be stale.
	Protected bool `json:"protected"`
	// Method is how the data is backed up. It is also set with the reasons NeverSucceeded, Stale and LastFailed.
	Method Method `json:"method,omitempty"`
	// Reason is the machine-readable reason why the claim is not protected; empty if it is.
	Reason Reason `json:"reason,omitempty"`
	// Message is human-readable: what protects the claim, or why nothing does, and what to do about it.
	Message string `json:"message,omitempty"`
	// Schedule is the name of the Schedule that protects the claim, or else of one that includes it.
	Schedule string `json:"schedule,omitempty"`
	// Pod and Volume are the names of the pod and of its volume that the evaluation is based on, if any.
	Pod    string `json:"pod,omitempty"`
	Volume string `json:"volume,omitempty"`
	// LastSuccess is when the last restic backup of the claim succeeded, scheduled or not; zero if none is known.
	LastSuccess time.Time `json:"lastSuccess,omitzero"`
	// Bytes is the size of the claim's files in that backup, in bytes.
	Bytes int64 `json:"bytes,omitempty"`
	// Duration is how long that backup took, in nanoseconds in JSON.
	Duration time.Duration `json:"duration,omitempty"`
}

// Ignored returns whether an annotation declares that the claim needs no backup. Such a claim counts neither as
// protected nor as unprotected.
func (s State) Ignored() bool { return s.Reason == ReasonIgnored }
