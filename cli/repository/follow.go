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

// followInterval is how often the command polls.
const followInterval = time.Second

// quietPeriod is how long a quiet command runs before it prints what it waits for.
const quietPeriod = 5 * time.Second

// follower follows requests and prints every change.
type follower struct {
	env       *command.Environment
	reader    client.Reader
	agents    *agents
	operation resticv1.MaintenanceOperation
	tracked   []*trackedRequest
	// toStderr prints to standard error, because standard output is for the result.
	toStderr bool
	// quiet holds back everything but warnings and errors.
	quiet bool
	// outageStart is since when the API server does not answer; zero while it does.
	outageStart time.Time
}

func newFollower(
	env *command.Environment, reader client.Reader, agents *agents, operation resticv1.MaintenanceOperation,
) *follower {
	return &follower{env: env, reader: reader, agents: agents, operation: operation}
}

// operationName is the name of the operation in sentences.
func (f *follower) operationName() string { return strings.ToLower(string(f.operation)) }

// add follows a request.
func (f *follower) add(t *trackedRequest) {
	f.tracked = append(f.tracked, t)
	if t.existing {
		f.print(t, command.Plain, f.operationName()+" already requested, following that request")
		return
	}
	f.print(t, command.Plain, f.operationName()+" requested")
}

// addFailed records a repository that could not be requested, so that the command can continue with the others.
func (f *follower) addFailed(name string, err error) {
	t := &trackedRequest{name: name}
	f.tracked = append(f.tracked, t)
	f.giveUp(t, "the request failed: "+err.Error(), "")
}

// print prints a line about a request if it differs from the last one.
func (f *follower) print(t *trackedRequest, style command.Style, text string) {
	if text == t.text {
		return
	}
	t.text, t.style, t.printed = text, style, false
	if !f.quiet || style == command.Warn || style == command.Bad {
		f.write(t)
	}
}

func (f *follower) write(t *trackedRequest) {
	out, palette := f.env.Out, f.env.Palette()
	if f.toStderr {
		out, palette = f.env.ErrOut, f.env.ErrPalette()
	}
	fmt.Fprintf(out, "%s: %s\n", t.name, palette.Paint(t.style, display.Line(t.text)))
	t.printed = true
}

// printHeldBack ends the quiet period and prints what was held back about unfinished requests.
func (f *follower) printHeldBack() {
	f.quiet = false
	for _, t := range f.open() {
		if !t.printed {
			f.write(t)
		}
	}
}

// printNotice prints a line that is not about one repository.
func (f *follower) printNotice(text string) { fmt.Fprintln(f.env.ErrOut, display.Line(text)) }

// run follows all requests until they finish. Damage takes precedence over other errors, except for Ctrl-C.
func (f *follower) run(ctx context.Context, timeout time.Duration) error {
	err := f.poll(ctx, timeout)
	code := command.CodeOf(err)
	if f.damaged() == 0 || code == command.ExitProblemFound || code == command.ExitInterrupted {
		return err
	}
	return &command.Error{
		Code: command.ExitProblemFound, Err: fmt.Errorf("%w; and %w", f.damageError(), err), Next: damageNext,
	}
}

func (f *follower) poll(ctx context.Context, timeout time.Duration) error {
	ctx, cancel := command.WithTimeout(ctx, timeout)
	defer cancel()
	start := f.env.Clock.Now()
	for {
		err := f.update(ctx)
		switch {
		case err == nil && len(f.open()) == 0:
			return f.summary()
		case ctx.Err() != nil:
			return f.endError(ctx, timeout)
		case err != nil:
			err = f.handleReadError(err)
		default:
			err = f.agents.checkLeader(ctx)
		}
		if err != nil {
			return err
		}
		if f.quiet && f.env.Clock.Since(start) >= quietPeriod {
			f.printHeldBack()
		}
		if err := f.env.Sleep(ctx, f.env.Clock.NewTimer(followInterval)); err != nil {
			return f.endError(ctx, timeout)
		}
	}
}

// open returns the unfinished requests.
func (f *follower) open() []*trackedRequest {
	return slices.DeleteFunc(slices.Clone(f.tracked), func(t *trackedRequest) bool { return t.done })
}

// update reads the repositories of the unfinished requests and prints changes.
func (f *follower) update(ctx context.Context) error {
	open := f.open()
	found, err := f.read(ctx, open)
	if err != nil {
		return err
	}
	if !f.outageStart.IsZero() {
		f.outageStart = time.Time{}
		f.agents.resetLeaderTimer() // during the outage, the leader could not renew its Lease either
		f.printNotice("the API server answers again")
	}
	for _, t := range open {
		f.observe(t, found[t.name])
	}
	return nil
}

// read returns the existing repositories of these requests by name, with one request: a list, or a get for a single
// repository.
func (f *follower) read(ctx context.Context, open []*trackedRequest) (map[string]*resticv1.ResticRepository, error) {
	found := map[string]*resticv1.ResticRepository{}
	if len(open) == 1 {
		repository := &resticv1.ResticRepository{}
		key := client.ObjectKey{Namespace: f.env.Namespace(), Name: open[0].name}
		err := f.reader.Get(ctx, key, repository)
		switch {
		case err == nil:
			found[key.Name] = repository
		case !apierrors.IsNotFound(err) || command.IsPermanent(err):
			return nil, fmt.Errorf("reading %s %s: %w", kind, key.Name, err)
		}
		return found, nil
	}
	list := &resticv1.ResticRepositoryList{}
	if err := f.reader.List(ctx, list, client.InNamespace(f.env.Namespace())); err != nil {
		return nil, fmt.Errorf("listing repositories: %w", err)
	}
	for i := range list.Items {
		found[list.Items[i].Name] = &list.Items[i]
	}
	return found, nil
}

// handleReadError returns nil if the command should retry.
func (f *follower) handleReadError(err error) error {
	now := f.env.Clock.Now()
	switch {
	case command.IsPermanent(err):
		return err
	case f.outageStart.IsZero():
		f.outageStart = now
		f.printNotice(fmt.Sprintf("the API server does not answer (%v); the cluster continues; retrying", err))
	case now.Sub(f.outageStart) > command.MaxOutage:
		return command.NewError(fmt.Errorf("the API server has not answered for %s: %w", command.MaxOutage, err),
			f.nextStep())
	}
	return nil
}

// endError returns the error for --timeout or for Ctrl-C.
func (f *follower) endError(ctx context.Context, timeout time.Duration) error {
	if command.IsTimeout(ctx) {
		first := f.open()[0]
		last := first.name + ": " + first.text
		if !f.outageStart.IsZero() {
			last = "the API server does not answer"
		}
		return command.TimeoutError(fmt.Errorf("%w: %d of %d are not finished after %s: %s", command.ErrTimeout,
			len(f.open()), len(f.tracked), timeout, last), f.nextStep())
	}
	return &command.Error{
		Code: command.ExitInterrupted, Err: errors.New("stopped following the request"), Next: f.nextStep(),
	}
}

func (f *follower) nextStep() string {
	return fmt.Sprintf("the request stays, and the cluster continues. See %s repo get %s -o yaml, "+
		"status.maintenance", f.env.Program, f.open()[0].name)
}
