// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

// Package worker says how the agent's controllers run: with how many workers, on every node or in the leader only, what
// wakes them besides changes of their objects, and what they do after a conflict.
package worker

import (
	"sigs.k8s.io/controller-runtime/pkg/controller"
)

// workers is how many objects of a kind are looked at at the same time. None waits for restic.
const workers = 4

// EveryNode runs a controller on every node, whoever leads.
func EveryNode() controller.Options {
	elected := false
	return controller.Options{MaxConcurrentReconciles: workers, NeedLeaderElection: &elected}
}

// LeaderOnly allow the controllers of a leader that leads again, in the same process, to have the same names.
func LeaderOnly() controller.Options {
	repeated := true
	return controller.Options{MaxConcurrentReconciles: workers, SkipNameValidation: &repeated}
}
