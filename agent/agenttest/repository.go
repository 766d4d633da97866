// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package agenttest

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/velero-restic/velero-plugin-for-restic/agent/condition"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/internal/contract"
	"github.com/velero-restic/velero-plugin-for-restic/internal/restic"
)

// LockedBy is how restic fails beside a lock that was refreshed a minute ago.
func LockedBy(host string) error {
	return &restic.ExitError{Subcommand: "backup", Code: 11, Message: fmt.Sprintf("unable to create lock in backend: "+
		"repository is already locked exclusively by PID 7 on %s by root (UID 0, GID 0) lock was created at "+
		"2000-01-01 00:00:00 (1m0.5s ago) storage ID 0123abcd the `unlock` command can be used to remove stale "+
		"locks", host)}
}

// Repository is the one of setRepository.
func (w *World) Repository() *resticv1.ResticRepository {
	w.T.Helper()
	return Get(w, contract.RepositoryName(Shop, Location), &resticv1.ResticRepository{})
}

// Occupy has a Job work on the repository, or have it worked.
func (w *World) Occupy(result resticv1.MaintenanceResult) {
	w.T.Helper()
	repository := w.Repository()
	repository.Status.Maintenance = []resticv1.Maintenance{{
		Operation: resticv1.OperationPrune, Result: result, Job: "restic-prune-1", StartTime: metav1.Now(),
	}}
	w.UpdateStatus(repository)
}

// Lock is what the leader says of a lock that it has seen.
func (w *World) Lock(exclusive bool) {
	w.T.Helper()
	repository, now := w.Repository(), metav1.Now()
	repository.Status.Locks = []resticv1.RepositoryLock{{
		ID: "0123abcd", Host: "elsewhere", PID: 7, Exclusive: exclusive, Time: now,
	}}
	repository.Status.LocksTime = &now
	condition.Set(repository, resticv1.ConditionUnlocked, metav1.ConditionFalse, resticv1.ReasonLocked, "elsewhere")
	w.UpdateStatus(repository)
}
