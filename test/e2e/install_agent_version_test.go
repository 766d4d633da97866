// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/version"
)

// TestAgentVersions wants a Lease with its versions for each agent, and no other Lease.
func TestAgentVersions(t *testing.T) {
	shareCluster(t)
	var build string
	eventually(t, time.Minute, "one Lease for each agent", func() error {
		owners := map[string]coordinationv1.Lease{}
		leases := list[coordinationv1.LeaseList](t, inVelero(), client.HasLabels{contract.LabelAgent})
		for _, lease := range leases.Items {
			if len(lease.OwnerReferences) == 1 {
				owners[string(lease.OwnerReferences[0].UID)] = lease
			}
		}
		pods := list[corev1.PodList](t, inVelero(), agentLabels())
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
