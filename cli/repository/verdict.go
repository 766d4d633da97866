// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"fmt"
	"strings"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
)

// damageNext is where to read what to do about damage.
const damageNext = `docs/maintenance.md, "A damaged repository"`

// damaged returns how many repositories are.
func (f *follower) damaged() int {
	count := 0
	for _, t := range f.tracks {
		if t.result != nil && t.result.Damaged {
			count++
		}
	}
	return count
}

func (f *follower) damage() error {
	return fmt.Errorf("%d of %d repositories are damaged", f.damaged(), len(f.tracks))
}

// verdict sums up what has ended. Damage outweighs what merely could not be done. Both were told already.
func (f *follower) verdict() error {
	failed, unasked, lost := 0, 0, 0
	for _, t := range f.tracks {
		switch {
		case !t.done:
		case t.word == "":
			unasked++
		case t.result == nil:
			lost++
		case t.result.Damaged:
		case t.result.Result != resticv1.MaintenanceSucceeded:
			failed++
		}
	}
	if f.damaged() > 0 {
		return &command.Error{Code: command.ExitProblemFound, Err: f.damage(), Next: damageNext}
	}
	var counts []string
	for _, part := range []struct {
		count int
		what  string
	}{
		{failed, "has failed for"},
		{unasked, "could not be asked for in"},
		{lost, "could not be followed to its end in"},
	} {
		if part.count > 0 {
			counts = append(counts, fmt.Sprintf("%s %d", part.what, part.count))
		}
	}
	if len(counts) == 0 {
		return nil
	}
	return command.NewError(fmt.Errorf("%s %s of %d repositories", f.word(), strings.Join(counts, ", "), len(f.tracks)),
		f.lookAt())
}

// lookAt says where there is more to read of the first that did not end well, as far as there is.
func (f *follower) lookAt() string {
	for _, t := range f.tracks {
		switch {
		case !t.done, t.result == nil && t.next == "":
		case t.result == nil:
			return t.next
		case t.result.Result == resticv1.MaintenanceSucceeded:
		case t.result.Job == "": // none could be made
			return fmt.Sprintf("look at its Events: kubectl -n %s describe resticrepository %s",
				f.env.Namespace(), t.name)
		default:
			return fmt.Sprintf("see the Job's log: kubectl -n %s logs job/%s", f.env.Namespace(), t.result.Job)
		}
	}
	return ""
}
