// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package stranded

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/stranded"
)

// agents evaluates the agents of the nodes that have operations, in one cycle.
type agents struct {
	namespace string
	pods      []corev1.Pod
	now       time.Time
	// before has the states of the previous cycle by node, seen those of this one.
	before, seen map[string]stranded.Agent
}

// verdict returns the result for operations on a node.
func (a *agents) verdict(node string) stranded.Verdict {
	agent, known := a.seen[node]
	if !known {
		agent = stranded.NewAgent(node, a.pods, a.before[node], a.now)
		a.seen[node] = agent
	}
	return agent.Verdict(a.namespace, a.now)
}
