// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
)

// track is one request.
type track struct {
	// name is the repository's, and word that of the request; empty if it could not be asked.
	name, word string
	// joined says that somebody else had asked, and before is the word that had been served by then.
	joined bool
	before string
	// said is what there was last to tell, in which style, and whether it was told.
	said  string
	style command.Style
	told  bool
	done  bool
	// result is that of the entry that has ended; nil where its end is not known, and then next says what the user can
	// do about it.
	result *resticv1.Maintenance
	next   string
}

// lose ends the following of one request whose end will not be known.
func (f *follower) lose(t *track, why, next string) {
	t.done, t.next = true, next
	f.tell(t, command.Bad, why)
}

// observe tells how a request fares by its repository, which is nil if it does not exist.
func (f *follower) observe(t *track, repository *resticv1.ResticRepository) {
	if repository == nil {
		f.lose(t, "the "+kind+" was deleted", "")
		return
	}
	entry := entryOf(repository, f.operation, t.word)
	if entry == nil {
		f.await(t, repository)
		return
	}
	switch entry.Result {
	case resticv1.MaintenanceRunning:
		text := "Job " + entry.Job + " runs"
		if entry.Message != "" {
			text = "Job " + entry.Job + ": " + entry.Message
		}
		f.tell(t, command.Plain, text)
	case resticv1.MaintenanceLocked:
		f.tell(t, command.Warn, "put off, and tried again: "+entry.Message)
	case resticv1.MaintenanceSucceeded, resticv1.MaintenanceFailed:
		t.done, t.result = true, entry
		f.tellEnd(t)
	}
}

// await tells of a request that has no entry.
func (f *follower) await(t *track, repository *resticv1.ResticRepository) {
	wanted, served := *wordOf(&repository.Spec.Requests, f.operation), *wordOf(&repository.Status.Served, f.operation)
	switch {
	case served == t.word:
		f.lose(t, "it was done, and its result is no longer remembered",
			"look at its Events: kubectl -n "+repository.Namespace+" describe resticrepository "+t.name)
	case wanted == t.word:
		f.tell(t, command.Plain, "queued"+f.obstacle(repository))
	// There is room for one word of each operation: another one takes the place of what has not been begun, or was put
	// off. What had been served before is none of either.
	case wanted != "" && wanted != t.before:
		f.replace(t, wanted, repository)
	case served != "" && served != t.before:
		f.replace(t, served, repository)
	default:
		f.lose(t, "the request is gone", "ask again")
	}
}

// replace follows another request in place of one that has been lost by it.
func (f *follower) replace(t *track, word string, repository *resticv1.ResticRepository) {
	t.word = word
	f.tell(t, command.Warn, "replaced by another request, which is followed")
	f.observe(t, repository)
}

func (f *follower) tellEnd(t *track) {
	took := ""
	if t.result.Duration != nil {
		took = " after " + since(t.result.Duration.Duration)
	}
	switch {
	case t.result.Result == resticv1.MaintenanceSucceeded:
		f.tell(t, command.Good, "done"+took+": "+t.result.Message)
	case t.result.Damaged:
		f.tell(t, command.Bad, "DAMAGED, found"+took+": "+t.result.Message)
	default:
		f.tell(t, command.Bad, "failed"+took+": "+t.result.Message)
	}
}

// obstacle says what a request waits for, as far as the leader has said.
func (f *follower) obstacle(repository *resticv1.ResticRepository) string {
	if repository.Status.Phase == resticv1.RepositoryNotReady {
		return ": the repository is not ready: " + repository.Status.Message
	}
	condition := meta.FindStatusCondition(repository.Status.Conditions, resticv1.ConditionMaintained)
	if condition != nil && condition.Status == metav1.ConditionFalse && condition.Reason == resticv1.ReasonWaiting &&
		strings.HasPrefix(condition.Message, string(f.operation)+" is due") {
		if _, waits, found := strings.Cut(condition.Message, " and waits: "); found {
			return ": " + waits
		}
	}
	for i := range repository.Status.Maintenance {
		entry := &repository.Status.Maintenance[i]
		if entry.Result == resticv1.MaintenanceRunning && listing(entry.Operation) == listing(f.operation) {
			return fmt.Sprintf(": Job %s (%s) comes first", entry.Job, entry.Operation)
		}
	}
	return ""
}

// listing says whether an operation is a list, which waits for none of the others, nor they for it.
func listing(operation resticv1.MaintenanceOperation) bool {
	return operation == resticv1.OperationSnapshots
}

// underway returns the newest maintenance of an operation, if it was asked for and is not over: it runs, or was put off
// and is tried again.
func underway(
	repository *resticv1.ResticRepository, operation resticv1.MaintenanceOperation,
) *resticv1.Maintenance {
	for i := range repository.Status.Maintenance {
		entry := &repository.Status.Maintenance[i]
		if entry.Operation != operation {
			continue
		}
		over := entry.Result != resticv1.MaintenanceRunning && entry.Result != resticv1.MaintenanceLocked
		if over || entry.Request == "" {
			return nil
		}
		return entry
	}
	return nil
}

// entryOf returns the newest maintenance that was asked for by a word.
func entryOf(
	repository *resticv1.ResticRepository, operation resticv1.MaintenanceOperation, word string,
) *resticv1.Maintenance {
	for i := range repository.Status.Maintenance {
		if entry := &repository.Status.Maintenance[i]; entry.Operation == operation && entry.Request == word {
			return entry
		}
	}
	return nil
}
