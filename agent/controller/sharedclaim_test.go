// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package controller

import (
	"testing"
	"time"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// TestSharedClaimOnTwoNodes has the agents of two nodes, each with a pod of the same claim.
func TestSharedClaimOnTwoNodes(t *testing.T) {
	bubbles(t, map[string]func(*testing.T){
		"it is restored once, on the node that is first": func(t *testing.T) {
			here := newRestores(t, restoredPod("web", running()), restoredPod("web-2", running()),
				podVolumeRestore(pvr, "web"), podVolumeRestore("pvr-2", "web-2"))
			there := &restores{
				world:   here.world,
				markers: &markers{written: map[string]string{}, removed: map[string]int{}},
			}
			there.startAgent()
			there.reconciler.Node = "node-2"

			here.lookAt(pvr)
			here.want(pvr, resticv1.PhaseInProgress)
			there.want("pvr-2", resticv1.PhaseNew, "claim data-web is being restored with pod web")
			here.answer(goodRestore(), nil)
			here.want(pvr, resticv1.PhaseCompleted)
			here.lookAt(pvr)
			here.wantMarker("web", "done")
			for range 3 {
				there.lookAt("pvr-2")
				pass(5 * time.Second)
			}
			second := there.want("pvr-2", resticv1.PhaseCompleted).Status
			if second.Node != "node-2" || second.SnapshotID != "full snapshot" {
				t.Errorf("the second is done on node %q from snapshot %q, want node-2 and the first's",
					second.Node, second.SnapshotID)
			}
			there.lookAt("pvr-2")
			there.wantMarker("web-2", "done")
			here.wantAsked(1)
			there.wantAsked(0)
		},
	})
}
