// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/version"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// TestAgentVersions reads what runs in the cluster: no agent without its build, no build without its agent.
func TestAgentVersions(t *testing.T) {
	t.Parallel()
	var build string
	eventually(t, time.Minute, "a Lease of each agent, and of no other", func() error {
		owners := map[string]coordinationv1.Lease{}
		leases := get[coordinationv1.LeaseList](t, "-n", velero.Namespace, "leases", "-l", contract.LabelAgent)
		for _, lease := range leases.Items {
			if len(lease.OwnerReferences) == 1 {
				owners[string(lease.OwnerReferences[0].UID)] = lease
			}
		}
		pods := get[corev1.PodList](t, "-n", velero.Namespace, "pods", "-l", "name=restic")
		for i := range pods.Items {
			pod := &pods.Items[i]
			lease := owners[string(pod.UID)]
			build = lease.Annotations[contract.AnnotationVersion]
			if build == "" || lease.Annotations[contract.AnnotationResticVersion] != version.Restic ||
				lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != pod.Spec.NodeName {
				return fmt.Errorf("the Lease of %s is %+v", pod.Name, lease)
			}
		}
		if len(pods.Items) == 0 || len(pods.Items) != len(leases.Items) {
			return fmt.Errorf("%d agents and %d Leases", len(pods.Items), len(leases.Items))
		}
		return nil
	})
	wantContains(t, "the metrics", agentMetrics(t), fmt.Sprintf(`velero_restic_build_info{restic="%s",version="%s"} 1`,
		version.Restic, build))
}
