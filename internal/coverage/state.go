// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package coverage decides for a PersistentVolumeClaim whether its data is protected: whether scheduled backups take
// it, by which method, and how that went. It asks package selection, as the plugin does at a backup. It makes no calls.
package coverage

import "time"

// Method is what takes the data of a claim.
type Method string

// The methods. The empty one means that nothing takes it.
const (
	// MethodRestic is this project.
	MethodRestic Method = "restic"
	// MethodSnapshot is a snapshot of the volume, by a CSI driver or by a provider's plugin.
	MethodSnapshot Method = "snapshot"
	// MethodNodeAgent is Velero's own file-system backup.
	MethodNodeAgent Method = "node-agent"
)

// State is how one claim is covered.
type State struct {
	// Namespace and Claim name the claim.
	Namespace string `json:"namespace"`
	Claim     string `json:"claim"`
	// Protected says that a schedule takes the claim's data and, where this project does so, that its last backup
	// succeeded and is not stale.
	Protected bool `json:"protected"`
	// Method is what takes the data, or would: it is set for NeverSucceeded, Stale and LastFailed, too.
	Method Method `json:"method,omitempty"`
	// Reason is why it is not protected, for machines; empty when it is.
	Reason Reason `json:"reason,omitempty"`
	// Message says it for people, with the remedy; for a protected claim it says by what.
	Message string `json:"message,omitempty"`
	// Schedule is the name of a Schedule that reaches the claim, the one that protects it where there is one.
	Schedule string `json:"schedule,omitempty"`
	// Pod and Volume name the pod, and its volume, that the decision was made for, if it was.
	Pod    string `json:"pod,omitempty"`
	Volume string `json:"volume,omitempty"`
	// LastSuccess is when the last backup of the claim with restic succeeded, scheduled or not; zero if none is known.
	LastSuccess time.Time `json:"lastSuccess,omitzero"`
	// Bytes is the size of the claim's files then, in bytes.
	Bytes int64 `json:"bytes,omitempty"`
	// Duration is how long that backup took.
	Duration time.Duration `json:"duration,omitempty"`
}

// Ignored says that somebody has declared that the claim needs no backup: it counts neither as protected nor as
// missing.
func (s State) Ignored() bool { return s.Reason == ReasonIgnored }
