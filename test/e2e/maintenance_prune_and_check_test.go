// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

// TestMaintenance prunes and checks a repository, and finds damage in it.
func TestMaintenance(t *testing.T) {
	needsNode(t)
	shareCluster(t)
	ns := newNamespace(t, "maintained", 0)
	ns.backUpRandomFile("maintained-1", 30_000_000)
	ns.shell("web", "echo small > /cache/file")
	wantCompleted(t, backUp(t, "maintained-2", "--include-namespaces=maintained"))
	deleteBackup(t, "maintained-1")
	full := repositorySize(t, ns.name)

	ns.patchRepository(`{"requests":{"prune":"first"}}`)
	if pruned := ns.wantMaintained(resticv1.OperationPrune, "first"); !strings.Contains(pruned.Message, "freed 28.") {
		t.Errorf("the prune ended with %+v, want it to free 28 MiB", pruned)
	}
	if left := repositorySize(t, ns.name); left > full-28_000_000 {
		t.Errorf("%d of %d bytes remain", left, full)
	}

	ns.patchRepository(`{"checkParts":2,"checkFrequency":"10s"}`)
	eventually(t, maintenanceLimit, "check of both parts of the data", func() error {
		parts := map[int32]bool{}
		for _, entry := range ns.repository().Status.Maintenance {
			if entry.Operation == resticv1.OperationCheck && entry.Result == resticv1.MaintenanceSucceeded {
				parts[entry.Part] = true
			}
		}
		if !parts[1] || !parts[2] {
			return fmt.Errorf("the checked parts are %v", parts)
		}
		return nil
	})
	if intact := ns.condition(resticv1.ConditionIntact); intact.Status != metav1.ConditionTrue {
		t.Errorf("the condition is %+v, want True", intact)
	}
	ns.patchRepository(`{"checkFrequency":"0s"}`)
	t.Run("a check reports damage", func(t *testing.T) { checkDamage(t, ns) })
}

func checkDamage(t *testing.T, ns *testNamespace) {
	removeFiles(t, filepath.Join(repositoryFiles(t, ns.name), "data"))
	ns.patchRepository(`{"requests":{"check":"damaged"}}`)
	if found := ns.waitMaintenance(resticv1.OperationCheck, "damaged"); found.Result != resticv1.MaintenanceFailed {
		t.Errorf("the check ended with %+v, want it to fail", found)
	}
	intact := ns.condition(resticv1.ConditionIntact)
	if intact.Status != metav1.ConditionFalse || intact.Reason != resticv1.ReasonDamaged {
		t.Errorf("the condition is %+v, want False with reason %s", intact, resticv1.ReasonDamaged)
	}
	wantContains(t, "the condition", intact.Message, "damaged", "docs/maintenance.md")
	wantContains(t, "the Events", ns.repositoryEvents(), resticv1.ReasonMaintenanceStarted, resticv1.ReasonMaintained,
		resticv1.ReasonDamaged)
	metrics := agentMetrics(t)
	wantContains(t, "the metrics", metrics, `velero_restic_repository_intact{repository="`+
		ns.repositoryName()+`",storage_location="default",volume_namespace="maintained"} 0`,
		`velero_restic_maintenance_total{operation="check",result="failed"}`)
}
