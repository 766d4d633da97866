// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package restore

import (
	"testing"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/agent/agenttest"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// TestSharedClaimOnTwoNodes has the agents of two nodes, each with a pod of the same claim.
func TestSharedClaimOnTwoNodes(t *testing.T) {
	agenttest.InBubbles(t, map[string]func(*testing.T){
		"it is restored once, on the node that is first": func(t *testing.T) {
			here := newRestores(t, agenttest.RestoredPod("web", agenttest.Running()), agenttest.RestoredPod("web-2", agenttest.Running()),
				agenttest.PodVolumeRestore(agenttest.RestoreName, "web"), agenttest.PodVolumeRestore("pvr-2", "web-2"))
			there := &restores{
				World:   here.World,
				markers: &markers{written: map[string]string{}, removed: map[string]int{}},
			}
			there.startAgent()
			there.reconciler.Node = "node-2"

			here.lookAt(agenttest.RestoreName)
			here.want(agenttest.RestoreName, resticv1.PhaseInProgress)
			there.want("pvr-2", resticv1.PhaseNew, "claim data-web is being restored with pod web")
			here.Answer(goodRestore(), nil)
			here.want(agenttest.RestoreName, resticv1.PhaseCompleted)
			here.lookAt(agenttest.RestoreName)
			here.wantMarker("web", "done")
			for range 3 {
				there.lookAt("pvr-2")
				agenttest.Sleep(5 * time.Second)
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
