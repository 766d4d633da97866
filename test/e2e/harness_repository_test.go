// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package e2e

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/test/cluster/velero"
)

// maintenanceLimit is how long a Job may take from its request to its entry in the status.
const maintenanceLimit = 3 * time.Minute

// repository returns the ResticRepository of the namespace in the default storage location.
func (ns *testNamespace) repository() resticv1.ResticRepository {
	ns.t.Helper()
	return get[resticv1.ResticRepository](ns.t, velero.Namespace, ns.repositoryName())
}

func (ns *testNamespace) repositoryName() string { return contract.RepositoryName(ns.name, "default") }

// patchRepository changes the spec as docs/maintenance.md says.
func (ns *testNamespace) patchRepository(spec string) {
	ns.t.Helper()
	kubectl(ns.t, "-n", velero.Namespace, "patch", "resticrepositories.restic.velero.io", ns.repositoryName(),
		"--type=merge", "-p", `{"spec":`+spec+`}`)
}

// waitMaintenance waits until the operation with this request ID has succeeded or failed, and returns its entry.
func (ns *testNamespace) waitMaintenance(
	operation resticv1.MaintenanceOperation, requestID string,
) resticv1.Maintenance {
	ns.t.Helper()
	var found resticv1.Maintenance
	eventually(ns.t, maintenanceLimit, string(operation)+" with request "+requestID, func() error {
		status := ns.repository().Status
		for _, entry := range status.Maintenance {
			if entry.Operation == operation && entry.Request == requestID &&
				(entry.Result == resticv1.MaintenanceSucceeded || entry.Result == resticv1.MaintenanceFailed) {
				found = entry
				return nil
			}
		}
		return fmt.Errorf("the status is %+v", status)
	})
	return found
}

// wantMaintained waits until the operation with this request ID has ended, and wants it to have succeeded.
func (ns *testNamespace) wantMaintained(operation resticv1.MaintenanceOperation, requestID string) resticv1.Maintenance {
	ns.t.Helper()
	entry := ns.waitMaintenance(operation, requestID)
	if entry.Result != resticv1.MaintenanceSucceeded {
		ns.t.Errorf("%s with request %s ended with %+v, want it to succeed", operation, requestID, entry)
	}
	return entry
}

// condition returns a condition of the repository, which is empty if the repository has none of this type.
func (ns *testNamespace) condition(conditionType string) metav1.Condition {
	ns.t.Helper()
	if found := meta.FindStatusCondition(ns.repository().Status.Conditions, conditionType); found != nil {
		return *found
	}
	return metav1.Condition{}
}

// repositoryEvents returns the reasons and messages of the repository's Events.
func (ns *testNamespace) repositoryEvents() string {
	ns.t.Helper()
	return kubectl(ns.t, "-n", velero.Namespace, "get", "events",
		"--field-selector", "involvedObject.name="+ns.repositoryName(),
		"-o", `jsonpath={range .items[*]}{.reason}{": "}{.message}{"\n"}{end}`)
}

// backUpRandomFile backs up a pod with an emptyDir that holds so many bytes.
func (ns *testNamespace) backUpRandomFile(backup string, bytes int) {
	ns.t.Helper()
	apply(ns.t, ns.pod("web", "cache", emptyDir("cache")))
	ns.waitReady("web")
	ns.shell("web", fmt.Sprintf("head -c %d /dev/urandom > /cache/file", bytes))
	wantCompleted(ns.t, backUp(ns.t, backup, "--include-namespaces="+ns.name))
}
