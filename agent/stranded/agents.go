// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package stranded

import (
	"fmt"
	"time"
)

// agentReadiness is what is known of the agents in one cycle.
type agentReadiness struct {
	// ready are the nodes whose agent is.
	ready map[string]bool
	// before and missing say since when the others' have not been, as of the last cycle and of this one.
	missingBefore, missingNow map[string]time.Time
	now                       time.Time
}

// missingReason says why operations on a node are stranded; empty if they are not. An agent that is being replaced
// counts as there.
func (v agentReadiness) missingReason(node string) string {
	if v.ready[node] {
		return ""
	}
	since, known := v.missingBefore[node]
	if !known {
		since = v.now
	}
	v.missingNow[node] = since
	if v.now.Sub(since) < agentGrace {
		return ""
	}
	return fmt.Sprintf("no restic agent is ready on node %s since %s: look at `kubectl get pods -A -l name=restic -o "+
		"wide --field-selector spec.nodeName=%s`; a taint of the node may need a toleration in DaemonSet restic",
		node, since.UTC().Format(time.RFC3339), node)
}
