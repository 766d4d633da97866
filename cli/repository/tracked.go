// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
)

// trackedRequest is a request that the command follows.
type trackedRequest struct {
	// name is the name of the repository. requestID is the ID of the request; empty if writing it failed.
	name, requestID string
	// existing is true if someone else sent the request. servedBefore is the last served ID when the command started.
	existing     bool
	servedBefore string
	// text and style are the last output about the request; printed is false if it was held back.
	text    string
	style   command.Style
	printed bool
	done    bool
	// result is the finished operation. If done is true and result is nil, the result is unknown, and next is what the
	// user can do.
	result *resticv1.Maintenance
	next   string
}

// giveUp stops following a request whose result will not be known.
func (f *follower) giveUp(t *trackedRequest, reason, next string) {
	t.done, t.next = true, next
	f.print(t, command.Bad, reason)
}

// observe prints the state of a request. The repository is nil if it does not exist.
func (f *follower) observe(t *trackedRequest, repository *resticv1.ResticRepository) {
	if repository == nil {
		f.giveUp(t, "the "+kind+" was deleted", "")
		return
	}
	entry := entryFor(repository, f.operation, t.requestID)
	if entry == nil {
		f.observeQueued(t, repository)
		return
	}
	switch entry.Result {
	case resticv1.MaintenanceRunning:
		f.print(t, command.Plain, runningText(entry))
	case resticv1.MaintenanceLocked:
		f.print(t, command.Warn, "postponed, will be retried: "+entry.Message)
	case resticv1.MaintenanceSucceeded, resticv1.MaintenanceFailed:
		t.done, t.result = true, entry
		f.printResult(t)
	}
}

// runningText describes an operation that has a Job. Agents that do not know Reason write another message.
func runningText(entry *resticv1.Maintenance) string {
	switch {
	case entry.Reason != "":
		return "Job " + entry.Job + " is waiting: " + entry.Message
	case entry.Message != "":
		return "Job " + entry.Job + ": " + entry.Message
	}
	return "Job " + entry.Job + " is running"
}

// observeQueued prints the state of a request without an entry in status.maintenance.
func (f *follower) observeQueued(t *trackedRequest, repository *resticv1.ResticRepository) {
	wanted := *requestIDOf(&repository.Spec.Requests, f.operation)
	served := *requestIDOf(&repository.Status.Served, f.operation)
	switch {
	case served == t.requestID:
		f.giveUp(t, "finished, and status.maintenance no longer has the result",
			"look at its Events: kubectl -n "+repository.Namespace+" describe resticrepository "+t.name)
	case wanted == t.requestID:
		f.print(t, command.Plain, "queued"+f.waitingText(t, repository))
	// The spec has one request ID for each operation. Another ID replaces a request that has not started, or that was
	// postponed. The ID that was served when the command started replaces neither.
	case wanted != "" && wanted != t.servedBefore:
		f.replace(t, wanted, repository)
	case served != "" && served != t.servedBefore:
		f.replace(t, served, repository)
	default:
		f.giveUp(t, "the request was removed", "run the command again")
	}
}

// replace follows another request instead of one that it replaced.
func (f *follower) replace(t *trackedRequest, requestID string, repository *resticv1.ResticRepository) {
	t.requestID = requestID
	f.print(t, command.Warn, "replaced by another request, following that one")
	f.observe(t, repository)
}

func (f *follower) printResult(t *trackedRequest) {
	took := ""
	if t.result.Duration != nil {
		took = " after " + durationText(t.result.Duration.Duration)
	}
	switch {
	case t.result.Result == resticv1.MaintenanceSucceeded:
		f.print(t, command.Good, "done"+took+": "+t.result.Message)
	case t.result.Damaged:
		f.print(t, command.Bad, "DAMAGED, found"+took+": "+t.result.Message)
	default:
		f.print(t, command.Bad, "failed"+took+": "+t.result.Message)
	}
}

// waitingText describes what a queued request waits for, as far as the leader has reported it.
func (f *follower) waitingText(t *trackedRequest, repository *resticv1.ResticRepository) string {
	if repository.Status.Phase == resticv1.RepositoryNotReady {
		return ", waiting: the repository is not ready: " + repository.Status.Message
	}
	if pending := repository.Status.Pending; pending != nil && pending.Operation == f.operation &&
		pending.Request == t.requestID {
		return ", waiting: " + pending.Message
	}
	for i := range repository.Status.Maintenance {
		entry := &repository.Status.Maintenance[i]
		if entry.Result == resticv1.MaintenanceRunning && isList(entry.Operation) == isList(f.operation) {
			return fmt.Sprintf(", waiting: Job %s (%s) runs first", entry.Job, entry.Operation)
		}
	}
	// Agents that do not know Pending report only by the condition.
	condition := meta.FindStatusCondition(repository.Status.Conditions, resticv1.ConditionMaintained)
	if repository.Status.Pending == nil && !isList(f.operation) && condition != nil &&
		condition.Status == metav1.ConditionFalse && condition.Reason == resticv1.ReasonWaiting {
		return ": " + condition.Message
	}
	return ""
}

// isList returns whether an operation lists snapshots. Lists and other operations do not wait for each other.
func isList(operation resticv1.MaintenanceOperation) bool {
	return operation == resticv1.OperationSnapshots
}

// activeRequest returns the newest entry of an operation if it was requested and is running or postponed.
func activeRequest(
	repository *resticv1.ResticRepository, operation resticv1.MaintenanceOperation,
) *resticv1.Maintenance {
	for i := range repository.Status.Maintenance {
		entry := &repository.Status.Maintenance[i]
		if entry.Operation != operation {
			continue
		}
		active := entry.Result == resticv1.MaintenanceRunning || entry.Result == resticv1.MaintenanceLocked
		if !active || entry.Request == "" {
			return nil
		}
		return entry
	}
	return nil
}

// entryFor returns the newest entry of an operation with this request ID.
func entryFor(
	repository *resticv1.ResticRepository, operation resticv1.MaintenanceOperation, requestID string,
) *resticv1.Maintenance {
	for i := range repository.Status.Maintenance {
		if entry := &repository.Status.Maintenance[i]; entry.Operation == operation && entry.Request == requestID {
			return entry
		}
	}
	return nil
}
