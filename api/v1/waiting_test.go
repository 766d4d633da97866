// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package v1_test

import (
	"testing"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

func TestWaiting(t *testing.T) {
	for name, test := range map[string]struct {
		status resticv1.VolumeStatus
		want   string
	}{
		"a reason and a message": {
			status: resticv1.VolumeStatus{
				Phase: resticv1.PhaseNew, Reason: resticv1.WaitingForRepository, Message: "repository r is not ready",
			},
			want: "waiting: repository r is not ready",
		},
		"no phase yet": {
			status: resticv1.VolumeStatus{Reason: resticv1.WaitingForPod, Message: "pod p is not scheduled"},
			want:   "waiting: pod p is not scheduled",
		},
		"an older agent, which writes the prefix": {
			status: resticv1.VolumeStatus{Phase: resticv1.PhaseNew, Message: "waiting: repository r is not ready"},
			want:   "waiting: repository r is not ready",
		},
		"an older agent, which writes a sentence": {
			status: resticv1.VolumeStatus{Phase: resticv1.PhaseNew, Message: "waiting for its turn on the node"},
			want:   "waiting for its turn on the node",
		},
		"an older agent, after an attempt": {
			status: resticv1.VolumeStatus{Phase: resticv1.PhaseNew, Message: "attempt 1 of 3: restic was killed"},
			want:   "waiting: attempt 1 of 3: restic was killed",
		},
		"no cause known": {status: resticv1.VolumeStatus{Phase: resticv1.PhaseNew}},
		"a transfer in progress": {
			status: resticv1.VolumeStatus{Phase: resticv1.PhaseInProgress, Message: "waiting"},
		},
		"a failed one": {status: resticv1.VolumeStatus{Phase: resticv1.PhaseFailed, Message: "waiting for its pod"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.status.Waiting(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
