// SPDX-License-Identifier: Apache-2.0
// Copyright the velero-plugin-for-restic authors.

package repository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	resticv1 "github.com/velero-restic/velero-plugin-for-restic/api/v1"
	"github.com/velero-restic/velero-plugin-for-restic/cli/command"
	"github.com/velero-restic/velero-plugin-for-restic/cli/display"
)

// followInterval is how often repositories are looked at.
const followInterval = time.Second

// quietFor is how long somebody waits for an answer without asking what goes on.
const quietFor = 5 * time.Second

// follower looks how requests fare, and tells of every change.
type follower struct {
	env       *command.Environment
	reader    client.Reader
	agents    *agents
	operation resticv1.MaintenanceOperation
	tracks    []*track
	// aside tells on the error stream, since the answer itself is to come.
	aside bool
	// quiet leaves out what is well.
	quiet bool
	// away is since when the API server has not answered; zero while it does.
	away time.Time
}

func newFollower(
	env *command.Environment, reader client.Reader, agents *agents, operation resticv1.MaintenanceOperation,
) *follower {
	return &follower{env: env, reader: reader, agents: agents, operation: operation}
}

// word is the operation in a sentence.
func (f *follower) word() string { return strings.ToLower(string(f.operation)) }

// add follows one more request.
func (f *follower) add(t *track) {
	f.tracks = append(f.tracks, t)
	if t.joined {
		f.tell(t, command.Plain, f.word()+" was asked for already")
		return
	}
	f.tell(t, command.Plain, f.word()+" asked for")
}

// refused takes down a repository that could not be asked, so that the others are followed all the same.
func (f *follower) refused(name string, err error) {
	t := &track{name: name}
	f.tracks = append(f.tracks, t)
	f.lose(t, "could not be asked: "+err.Error(), "")
}

// tell writes a line if it is news.
func (f *follower) tell(t *track, style command.Style, text string) {
	if text == t.said {
		return
	}
	t.said, t.style, t.told = text, style, false
	if !f.quiet || style == command.Warn || style == command.Bad {
		f.write(t)
	}
}

func (f *follower) write(t *track) {
	out, palette := f.env.Out, f.env.Palette()
	if f.aside {
		out, palette = f.env.ErrOut, f.env.ErrPalette()
	}
	fmt.Fprintf(out, "%s: %s\n", t.name, palette.Paint(t.style, display.Line(t.said)))
	t.told = true
}

// speakUp is quiet no longer, and tells what has not been told of those that are not done.
func (f *follower) speakUp() {
	f.quiet = false
	for _, t := range f.open() {
		if !t.told {
			f.write(t)
		}
	}
}

// notice tells what is about none of the repositories.
func (f *follower) notice(text string) { fmt.Fprintln(f.env.ErrOut, display.Line(text)) }

// run follows all of them to their ends. Damage that was found is what it ends with, unless the user has stopped it,
// also where not all have come to their ends.
func (f *follower) run(ctx context.Context, timeout time.Duration) error {
	err := f.toTheEnd(ctx, timeout)
	if code := command.CodeOf(err); f.damaged() == 0 || code == command.ExitProblemFound || code == command.ExitInterrupted {
		return err
	}
	return &command.Error{Code: command.ExitProblemFound, Err: fmt.Errorf("%w; and %w", f.damage(), err), Next: damageNext}
}

func (f *follower) toTheEnd(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := command.WithTimeout(ctx, timeout)
	defer cancel()
	begun := f.env.Clock.Now()
	for {
		err := f.look(ctx)
		switch {
		case err == nil && len(f.open()) == 0:
			return f.verdict()
		case ctx.Err() != nil:
			return f.ended(ctx, timeout)
		case err != nil:
			err = f.lost(err)
		default:
			err = f.agents.led(ctx)
		}
		if err != nil {
			return err
		}
		if f.quiet && f.env.Clock.Since(begun) >= quietFor {
			f.speakUp()
		}
		if err := f.env.Sleep(ctx, f.env.Clock.NewTimer(followInterval)); err != nil {
			return f.ended(ctx, timeout)
		}
	}
}

// open returns the requests that are not done.
func (f *follower) open() []*track {
	return slices.DeleteFunc(slices.Clone(f.tracks), func(t *track) bool { return t.done })
}

// look looks at all that are not done.
func (f *follower) look(ctx context.Context) error {
	open := f.open()
	found, err := f.read(ctx, open)
	if err != nil {
		return err
	}
	if !f.away.IsZero() {
		f.away = time.Time{}
		f.agents.forget() // what the leader has not said meanwhile says nothing of it
		f.notice("the API server answers again")
	}
	for _, t := range open {
		f.observe(t, found[t.name])
	}
	return nil
}

// read returns the repositories of these requests by name, those that there are. It costs one request, however many
// they are; that of a single one costs no list of all.
func (f *follower) read(ctx context.Context, open []*track) (map[string]*resticv1.ResticRepository, error) {
	found := map[string]*resticv1.ResticRepository{}
	if len(open) == 1 {
		repository := &resticv1.ResticRepository{}
		key := client.ObjectKey{Namespace: f.env.Namespace(), Name: open[0].name}
		err := f.reader.Get(ctx, key, repository)
		switch {
		case err == nil:
			found[key.Name] = repository
		case !apierrors.IsNotFound(err) || command.IsPermanent(err):
			return nil, fmt.Errorf("looking at %s %s: %w", kind, key.Name, err)
		}
		return found, nil
	}
	list := &resticv1.ResticRepositoryList{}
	if err := f.reader.List(ctx, list, client.InNamespace(f.env.Namespace())); err != nil {
		return nil, fmt.Errorf("looking at repositories: %w", err)
	}
	for i := range list.Items {
		found[list.Items[i].Name] = &list.Items[i]
	}
	return found, nil
}

// lost decides what an error of the API server means: nothing yet, or the end of the following.
func (f *follower) lost(err error) error {
	now := f.env.Clock.Now()
	switch {
	case command.IsPermanent(err):
		return err
	case f.away.IsZero():
		f.away = now
		f.notice(fmt.Sprintf("the API server does not answer (%v); the cluster goes on, trying again", err))
	case now.Sub(f.away) > command.MaxOutage:
		return command.NewError(fmt.Errorf("the API server has been away for %s: %w", command.MaxOutage, err), f.goesOn())
	}
	return nil
}

// ended tells an end by the deadline from one by the user.
func (f *follower) ended(ctx context.Context, timeout time.Duration) error {
	if command.IsTimeout(ctx) {
		first := f.open()[0]
		last := first.name + ": " + first.said
		if !f.away.IsZero() {
			last = "the API server does not answer"
		}
		return command.TimeoutError(fmt.Errorf("%w: %d of %d are not done after %s: %s", command.ErrTimeout, len(f.open()),
			len(f.tracks), timeout, last), f.goesOn())
	}
	return &command.Error{Code: command.ExitInterrupted, Err: errors.New("no longer followed"), Next: f.goesOn()}
}

func (f *follower) goesOn() string {
	return fmt.Sprintf("the request stays, and the cluster goes on with it. See %s repo get %s -o yaml, "+
		"status.maintenance", f.env.Program, f.open()[0].name)
}
