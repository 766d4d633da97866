// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package survey

import (
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/selection"
	"github.com/velero-restic/velero-plugin-for-restic/plugins/internal/cluster/clustertest"
)

// TestResourcePoliciesLeaveClaimsOut has lists of kinds in the backup's resource policies, and in its spec.
func TestResourcePoliciesLeaveClaimsOut(t *testing.T) {
	const leaveOut = "includeExcludePolicy: {excludedNamespaceScopedResources: [persistentvolumeclaims]}\n"
	cases := map[string]struct {
		section  string
		included []string
		want     selection.Reason
	}{
		"nothing about kinds":            {"", nil, ""},
		"claims are left out":            {leaveOut, nil, selection.ReasonClaimsExcluded},
		"the backup's own list has":      {leaveOut, []string{"pods", "pvc"}, ""},
		"the backup's own list has none": {"", []string{"pods"}, selection.ReasonClaimsExcluded},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			policy := clustertest.Policy()
			policy.Data["policy.yaml"] += c.section
			claim, volume := clustertest.Claim("data", map[string]string{contract.LabelClaimed: "true"})
			pod := clustertest.Pod("web", [2]string{"data", "data"})
			backup := clustertest.Backup()
			backup.Spec.IncludedNamespaceScopedResources = c.included
			s, err := New(clustertest.New(t, interceptor.Funcs{}, policy, claim, volume, pod), backup)
			if err != nil {
				t.Fatal(err)
			}
			decisions, err := s.Decide(pod)
			if err != nil {
				t.Fatal(err)
			}
			if len(decisions) != 1 || decisions[0].Reason != c.want || decisions[0].Take != (c.want == "") {
				t.Errorf("got %+v, want reason %q", decisions, c.want)
			}
		})
	}
}
