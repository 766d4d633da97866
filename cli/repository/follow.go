// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/cli/display"
)

// followInterval is how often a repository is looked at.
const followInterval = time.Second

// errDeadline is the cause of an end by --timeout.
var errDeadline = errors.New("the deadline of --timeout has passed")

// follower looks how requests fare, and tells of every change.
type follower struct {
	env       *command.Environment
	reader    client.Reader
	agents    *agents
	operation resticv1.MaintenanceOperation
	tracks    []*track
	// quiet leaves out what is well.
	quiet bool
}

// track is one request.
type track struct {
	name, word string
	// said is what was last told.
	said string
	done bool
	// result is that of the entry that has ended.
	result *resticv1.Maintenance
}

func newFollower(
	env *command.Environment, reader client.Reader, agents *agents, operation resticv1.MaintenanceOperation,
) *follower {
	return &follower{env: env, reader: reader, agents: agents, operation: operation}
}

// add follows one more request.
func (f *follower) add(name, word string, joined bool) {
	t := &track{name: name, word: word}
	f.tracks = append(f.tracks, t)
	if joined {
		f.tell(t, command.Plain, strings.ToLower(string(f.operation))+" was asked for already")
		return
	}
	f.tell(t, command.Plain, strings.ToLower(string(f.operation))+" asked for")
}

// tell writes a line if it is news.
func (f *follower) tell(t *track, style command.Style, text string) {
	if text == t.said {
		return
	}
	t.said = text
	if f.quiet && style != command.Warn && style != command.Poor {
		return
	}
	out, palette := f.env.Out, f.env.Palette()
	if f.quiet {
		out, palette = f.env.ErrOut, f.env.ErrPalette()
	}
	fmt.Fprintf(out, "%s: %s\n", t.name, palette.Paint(style, display.Line(text)))
}

// run follows all of them to their ends.
func (f *follower) run(ctx context.Context, timeout time.Duration) error {
	deadline := f.env.Clock.Now().Add(timeout)
	for {
		open, err := f.look(ctx)
		if err != nil {
			return f.interrupted(ctx, err)
		}
		if open == 0 {
			return f.verdict()
		}
		if err := f.agents.led(ctx); err != nil {
			return err
		}
		rest := deadline.Sub(f.env.Clock.Now())
		if rest <= 0 {
			return command.TimedOut(fmt.Errorf("%w: %d of %d are not done after %s", errDeadline, open, len(f.tracks),
				timeout), f.goesOn())
		}
		if err := f.env.Sleep(ctx, f.env.Clock.NewTimer(min(rest, followInterval))); err != nil {
			return f.interrupted(ctx, err)
		}
	}
}

// interrupted tells an end by the user from others.
func (f *follower) interrupted(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return &command.Error{Code: command.Interrupted, Err: errors.New("no longer followed"), Next: f.goesOn()}
}

func (f *follower) goesOn() string {
	return fmt.Sprintf("the request stays, and the cluster goes on with it. See %s repo get %s -o yaml, "+
		"status.maintenance", f.env.Program, f.tracks[0].name)
}

// look looks at all that are not done, and returns how many are still open.
func (f *follower) look(ctx context.Context) (open int, err error) {
	for _, t := range f.tracks {
		if t.done {
			continue
		}
		repository := &resticv1.ResticRepository{}
		err := f.reader.Get(ctx, client.ObjectKey{Namespace: f.env.Namespace(), Name: t.name}, repository)
		if apierrors.IsNotFound(err) {
			return 0, command.Fail(fmt.Errorf("%s %s was deleted", kind, t.name), "")
		}
		if err != nil {
			return 0, fmt.Errorf("looking at %s %s: %w", kind, t.name, err)
		}
		if err := f.observe(t, repository); err != nil {
			return 0, err
		}
		if !t.done {
			open++
		}
	}
	return open, nil
}

func (f *follower) observe(t *track, repository *resticv1.ResticRepository) error {
	entry := entryOf(repository, f.operation, t.word)
	if entry == nil {
		if *wordOf(&repository.Status.Served, f.operation) == t.word {
			return command.Fail(fmt.Errorf("%s: it was done, and its result is no longer remembered", t.name),
				"look at its Events: kubectl -n "+repository.Namespace+" describe resticrepository "+t.name)
		}
		f.tell(t, command.Plain, "queued"+f.obstacle(repository))
		return nil
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
	return nil
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
		f.tell(t, command.Poor, "DAMAGED, found"+took+": "+t.result.Message)
	default:
		f.tell(t, command.Poor, "failed"+took+": "+t.result.Message)
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
		if entry := &repository.Status.Maintenance[i]; entry.Result == resticv1.MaintenanceRunning {
			return fmt.Sprintf(": Job %s (%s) comes first", entry.Job, entry.Operation)
		}
	}
	return ""
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

// verdict sums up. Damage outweighs what merely could not be done. Both were told already.
func (f *follower) verdict() error {
	failed, damaged := 0, 0
	for _, t := range f.tracks {
		switch {
		case t.result.Damaged:
			damaged++
		case t.result.Result != resticv1.MaintenanceSucceeded:
			failed++
		}
	}
	switch {
	case damaged > 0:
		return &command.Error{
			Code: command.Bad, Err: fmt.Errorf("%d of %d repositories are damaged", damaged, len(f.tracks)),
			Next: `docs/maintenance.md, "A damaged repository"`,
		}
	case failed > 0:
		return command.Fail(fmt.Errorf("%s has failed for %d of %d repositories",
			strings.ToLower(string(f.operation)), failed, len(f.tracks)),
			f.lookAt())
	}
	return nil
}

// lookAt says where there is more to read of the first that failed.
func (f *follower) lookAt() string {
	for _, t := range f.tracks {
		switch {
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
