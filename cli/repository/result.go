// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"fmt"
	"strings"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
)

// damageNext is what to do about damage.
const damageNext = `docs/maintenance.md, "A damaged repository"`

// damaged returns the number of damaged repositories.
func (f *follower) damaged() int {
	count := 0
	for _, t := range f.tracked {
		if t.result != nil && t.result.Damaged {
			count++
		}
	}
	return count
}

func (f *follower) damageError() error {
	return fmt.Errorf("%d of %d repositories are damaged", f.damaged(), len(f.tracked))
}

// summary returns the error for the finished requests. Damage takes precedence over failures. Details were printed
// before.
func (f *follower) summary() error {
	failed, notRequested, notFollowed := 0, 0, 0
	for _, t := range f.tracked {
		switch {
		case !t.done:
		case t.requestID == "":
			notRequested++
		case t.result == nil:
			notFollowed++
		case t.result.Damaged:
		case t.result.Result != resticv1.MaintenanceSucceeded:
			failed++
		}
	}
	if f.damaged() > 0 {
		return &command.Error{Code: command.ExitProblemFound, Err: f.damageError(), Next: damageNext}
	}
	var counts []string
	for _, part := range []struct {
		count int
		what  string
	}{
		{failed, "failed for"},
		{notRequested, "could not be requested for"},
		{notFollowed, "ended with an unknown result for"},
	} {
		if part.count > 0 {
			counts = append(counts, fmt.Sprintf("%s %d", part.what, part.count))
		}
	}
	if len(counts) == 0 {
		return nil
	}
	return command.NewError(fmt.Errorf("%s %s of %d repositories", f.operationName(), strings.Join(counts, ", "),
		len(f.tracked)), f.nextForFailed())
}

// nextForFailed returns where to find details about the first request that failed.
func (f *follower) nextForFailed() string {
	for _, t := range f.tracked {
		switch {
		case !t.done, t.result == nil && t.next == "":
		case t.result == nil:
			return t.next
		case t.result.Result == resticv1.MaintenanceSucceeded:
		case t.result.Job == "": // the agent could not create one
			return fmt.Sprintf("look at its Events: kubectl -n %s describe resticrepository %s",
				f.env.Namespace(), t.name)
		default:
			return fmt.Sprintf("see the Job's log: kubectl -n %s logs job/%s", f.env.Namespace(), t.result.Job)
		}
	}
	return ""
}
