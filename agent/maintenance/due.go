// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package maintenance

import (
	"hash/fnv"
	"time"

	"github.com/velero-restic/velero-plugin-for-restic/agent/occupied"
	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
)

const (
	// failureRest and failureRestMax space the attempts of what fails: the first after an hour, each further one after
	// twice the time, at most a day.
	failureBackoff    = time.Hour
	maxFailureBackoff = 24 * time.Hour
	// lockedRest is how soon an operation that met a lock is tried again, once nothing is known to be in its way.
	lockedRetry = 30 * time.Second
	// spread is the part of a frequency over which repositories of the same age are spread, so that a cluster's
	// hundreds do not begin at once: a tenth.
	spread = 10
)

// due is an operation that is to be done.
type due struct {
	operation resticv1.MaintenanceOperation
	// request is the requestID that asks for it; empty if it is its time.
	request string
	// host is whose locks to remove.
	host string
	// since is when it became due.
	since time.Time
}

// nextDue returns what is to be done to a repository now, or nil and how long that will be so; 0 is for ever. Of a
// repository that is read-only nothing is due by time.
func nextDue(repository *resticv1.ResticRepository, readOnly bool, now time.Time) (next *due, delay time.Duration) {
	var candidates []due
	if host, since := abandonedHost(repository); host != "" && !readOnly {
		candidates = append(candidates, due{operation: resticv1.OperationUnlock, host: host, since: since})
	}
	for _, operation := range []resticv1.MaintenanceOperation{
		resticv1.OperationUnlock, resticv1.OperationPrune, resticv1.OperationCheck,
	} {
		if candidate, wanted := dueOperation(repository, operation, readOnly, now); wanted {
			candidates = append(candidates, candidate)
		}
	}
	for i := range candidates {
		wait := candidates[i].since.Sub(now)
		if wait <= 0 {
			return &candidates[i], 0
		}
		if delay == 0 || wait < delay {
			delay = wait
		}
	}
	return nil, delay
}

// dueOperation says when an operation is next to be done; false for never.
func dueOperation(
	repository *resticv1.ResticRepository, operation resticv1.MaintenanceOperation, readOnly bool, now time.Time,
) (due, bool) {
	candidate := due{operation: operation}
	last := lastMaintenance(repository, operation)
	if requestID := requestIDFor(repository.Spec.Requests, operation); requestID != "" &&
		requestID != requestIDFor(repository.Status.Served, operation) {
		candidate.request, candidate.since = requestID, now
		return candidate, true
	}
	if last != nil && last.Result == resticv1.MaintenanceLocked && last.CompletionTime != nil {
		candidate.request, candidate.since = last.Request, last.CompletionTime.Add(lockedRetry)
		return candidate, !readOnly || last.Request != ""
	}
	frequency := frequencyOf(repository, operation)
	if frequency <= 0 || readOnly {
		return candidate, false
	}
	candidate.since = lastSuccess(repository, operation).Add(frequency + jitter(repository, operation, frequency))
	if failures := failuresInRow(repository, operation); failures > 0 {
		tried := last.StartTime.Time
		if last.CompletionTime != nil {
			tried = last.CompletionTime.Time
		}
		again := tried.Add(min(failureBackoff<<(failures-1), maxFailureBackoff))
		if again.After(candidate.since) {
			candidate.since = again
		}
	}
	return candidate, true
}

func requestIDFor(requests resticv1.RepositoryRequests, operation resticv1.MaintenanceOperation) string {
	switch operation {
	case resticv1.OperationCheck:
		return requests.Check
	case resticv1.OperationPrune:
		return requests.Prune
	case resticv1.OperationUnlock:
		return requests.Unlock
	case resticv1.OperationSnapshots:
		return requests.Snapshots
	}
	return ""
}

// markServed notes that the request was taken up.
func markServed(repository *resticv1.ResticRepository, operation resticv1.MaintenanceOperation, requestID string) {
	if requestID == "" {
		return
	}
	switch operation {
	case resticv1.OperationCheck:
		repository.Status.Served.Check = requestID
	case resticv1.OperationPrune:
		repository.Status.Served.Prune = requestID
	case resticv1.OperationUnlock:
		repository.Status.Served.Unlock = requestID
	case resticv1.OperationSnapshots:
		repository.Status.Served.Snapshots = requestID
	}
}

func frequencyOf(repository *resticv1.ResticRepository, operation resticv1.MaintenanceOperation) time.Duration {
	switch operation {
	case resticv1.OperationCheck:
		return repository.Spec.CheckFrequency.Duration
	case resticv1.OperationPrune:
		return repository.Spec.MaintenanceFrequency.Duration
	case resticv1.OperationUnlock, resticv1.OperationSnapshots:
		return 0
	}
	return 0
}

// lastSuccess is when the operation last went well; for a repository that never saw it, when its object was made.
func lastSuccess(repository *resticv1.ResticRepository, operation resticv1.MaintenanceOperation) time.Time {
	at := repository.Status.LastMaintenanceTime
	if operation == resticv1.OperationCheck {
		at = repository.Status.LastCheckTime
	}
	if at == nil {
		return repository.CreationTimestamp.Time
	}
	return at.Time
}

// jitter is the same for the same repository and operation each time.
func jitter(
	repository *resticv1.ResticRepository, operation resticv1.MaintenanceOperation, frequency time.Duration,
) time.Duration {
	digest := fnv.New32a()
	_, _ = digest.Write([]byte(string(repository.UID) + "/" + string(operation))) // it never fails
	const steps = 1000
	return frequency / spread / steps * time.Duration(digest.Sum32()%steps)
}

func lastMaintenance(
	repository *resticv1.ResticRepository, operation resticv1.MaintenanceOperation,
) *resticv1.Maintenance {
	for i := range repository.Status.Maintenance {
		if entry := &repository.Status.Maintenance[i]; entry.Operation == operation {
			return entry
		}
	}
	return nil
}

func failuresInRow(repository *resticv1.ResticRepository, operation resticv1.MaintenanceOperation) int {
	count := 0
	for i := range repository.Status.Maintenance {
		entry := &repository.Status.Maintenance[i]
		if entry.Operation != operation {
			continue
		}
		if entry.Result != resticv1.MaintenanceFailed {
			break
		}
		count++
	}
	return count
}

// abandonedHost returns a host whose locks are to be removed, and when to do so.
func abandonedHost(repository *resticv1.ResticRepository) (host string, since time.Time) {
	for i := range repository.Status.Locks {
		lock := &repository.Status.Locks[i]
		if !lock.Abandoned {
			continue
		}
		since := lock.Time.Time
		for j := range repository.Status.Maintenance {
			entry := &repository.Status.Maintenance[j]
			if entry.Host == lock.Host && entry.CompletionTime != nil {
				since = entry.CompletionTime.Add(occupied.UnlockRetry)
				break
			}
		}
		return lock.Host, since
	}
	return "", time.Time{}
}

// addToHistory puts an entry at the head of the history, and drops what is beyond its length. What met a lock before
// says nothing that the next attempt does not.
func addToHistory(repository *resticv1.ResticRepository, entry resticv1.Maintenance) {
	kept, count := []resticv1.Maintenance{entry}, 1
	for _, earlier := range repository.Status.Maintenance {
		if earlier.Operation == entry.Operation {
			if earlier.Result == resticv1.MaintenanceLocked || count == resticv1.MaxMaintenance {
				continue
			}
			count++
		}
		kept = append(kept, earlier)
	}
	repository.Status.Maintenance = kept
}
